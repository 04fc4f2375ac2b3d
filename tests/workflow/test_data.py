"""Every task through the whole chain, own files before downloads, and what a failed download leaves."""

import json
import os
import re
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean

import pytest
import pytrec_eval
import yaml

from cross_thought.data.tasks import TASKS
from cross_thought.evaluation.predictions import read_predictions
from tests.unit.data.glue_format import GLUE, write_archive
from tests.workflow.conftest import REPOSITORY, TINY, clone_with_python, run_snakemake

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", REPOSITORY.parent / "shared" / "data"))
ALL_TASKS = (*GLUE, "SNLI")
COUNTS = {"train": 40, "valid": 24, "test": 8}
METRICS = {
    "CoLA": {"matthews"},
    "MRPC": {"accuracy", "f1"},
    "QQP": {"accuracy", "f1"},
    "STS-B": {"pearson", "spearman"},
}


def write_wikiqa(folder: Path) -> None:
    """Write WikiQA's files: the real dev set, where it is at hand, a part of it to train on, and a test set made up."""
    folder.mkdir()
    header = "QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel\n"
    made_up = "".join(
        f"Q{number}\twho is it\tD{number}\tIt\tD{number}-{place}\tit is {place}\t{int(number > 1 and place in right)}\n"
        for number, right in enumerate(([], [0], [1, 2], [3], [0]) * 12)
        for place in range(1 + number % 4)
    )
    real = REAL_DATA / "wikiqa" / "WikiQA-dev.tsv"
    dev = real.read_text(encoding="utf-8") if real.is_file() else header + made_up
    lines = dev.splitlines(keepends=True)
    (folder / "WikiQA-dev.tsv").write_text(dev, encoding="utf-8")
    (folder / "WikiQA-train.tsv").write_text("".join(lines[: len(lines) * 2 // 3]), encoding="utf-8")
    (folder / "WikiQA-test.tsv").write_text(header + made_up, encoding="utf-8")


@pytest.fixture(scope="module")
def glue_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tune on all tasks, on real files where they are at hand; return the folder."""
    directory = tmp_path_factory.mktemp("glue")
    data_dir = directory / "own files"
    tasks = {}
    for name in ALL_TASKS:
        tasks[name] = {"max_train_examples": COUNTS["train"]}
        if (REAL_DATA / "glue" / name).is_dir():
            (data_dir / "glue").mkdir(parents=True, exist_ok=True)
            (data_dir / "glue" / name).symlink_to(REAL_DATA / "glue" / name)
        else:
            write_archive(name, data_dir, COUNTS)
            tasks[name]["check_rows"] = False
    write_wikiqa(data_dir / "wikiqa")
    tasks["WikiQA"] = {"max_train_examples": COUNTS["train"]}
    write_archive("AX", data_dir, COUNTS)
    tasks["AX"] = {"check_rows": False}
    overlay = TINY | {
        "data_dir": str(data_dir),
        "models": {"mlm": {"cross_sequence": False, "pretraining": {"max_updates": 3, "warmup_updates": 1}}},
        "tasks": tasks,
        "seeds": [1],
        "control": None,
    }
    done = run_snakemake(directory, "finetune", overlay=overlay)
    assert done.returncode == 0, done.stderr[-5000:]
    return directory


@pytest.mark.parametrize("name", ALL_TASKS)
def test_every_task_goes_from_raw_files_to_its_metrics(name: str, glue_run: Path) -> None:
    task = TASKS[name]
    document = json.loads((glue_run / f"results/evaluate/mlm/{name}/seed-1/metrics.json").read_text())
    labelled = {"valid", "valid1"} & set(task.splits) | ({"test"} if name == "SNLI" else set())
    real = (REAL_DATA / "glue" / name).is_dir()
    for split in labelled:
        figures = document["splits"][split]
        assert set(figures["metrics"]) == METRICS.get(name, {"accuracy"})
        assert figures["num_examples"] == (task.splits[split].expected_rows if real else COUNTS[split.rstrip("1")])
    assert document["num_train_examples"] == COUNTS["train"]
    binarized = glue_run / "results/binarized/tasks" / name
    assert (binarized / "input1").exists() == (task.num_sentences == 2)


def test_diagnostics_are_answered_by_the_model_of_another_task(glue_run: Path) -> None:
    folder = glue_run / "results/evaluate/mlm/AX/seed-1"
    splits = read_predictions(folder / "predictions.tsv")
    assert len(splits["test"].predictions) == COUNTS["test"]
    assert set(splits["test"].predictions) <= set(TASKS["MNLI"].labels)
    assert json.loads((folder / "metrics.json").read_text())["splits"] == {}
    assert not list(glue_run.glob("results/finetune/mlm/AX/seed-*"))


def test_wikiqa_is_ranked_and_scored_as_trec_eval_reads_it(glue_run: Path) -> None:
    folder = glue_run / "results/evaluate/mlm/WikiQA/seed-1"
    document = json.loads((folder / "metrics.json").read_text())
    predictions = read_predictions(folder / "predictions.tsv")
    for split in ("valid", "test"):
        with open(folder / f"{split}.run") as run, open(folder / f"{split}.qrels") as qrels:
            ranked, judged = pytrec_eval.parse_run(run), pytrec_eval.parse_qrel(qrels)
        found = pytrec_eval.RelevanceEvaluator(judged, {"map", "recip_rank", "P.1"}).evaluate(ranked)
        answered = [scores for index, scores in found.items() if any(judged[index].values())]
        metrics = document["splits"][split]["metrics"]
        for ours, theirs in (("map", "map"), ("mrr", "recip_rank"), ("accuracy", "P_1")):
            assert metrics[ours] == pytest.approx(fmean(scores[theirs] for scores in answered), abs=1e-12)
            if ours != "accuracy":
                assert metrics[f"raw_{ours}"] == pytest.approx(fmean(scores[theirs] for scores in found.values()))
        rows = (glue_run / f"own files/wikiqa/WikiQA-{'dev' if split == 'valid' else split}.tsv").read_text()
        assert sum(map(len, judged.values())) == len(rows.splitlines()) - 1
        assert document["splits"][split]["num_examples"] == len(judged) == len(predictions[split].predictions)
    assert document["counts"]["test"]["unanswered"] == sum(not any(right.values()) for right in judged.values()) > 10
    assert document["num_train_examples"] == COUNTS["train"]


def test_what_was_left_out_is_counted(glue_run: Path) -> None:
    document = json.loads((glue_run / "results/evaluate/mlm/SNLI/seed-1/metrics.json").read_text())
    test = document["counts"]["test"]
    assert document["counts"]["train"]["used"] == COUNTS["train"]
    assert (test["examples"], test["dropped"]) == (COUNTS["test"], 0)
    if (REAL_DATA / "glue" / "RTE").is_dir():
        counts = json.loads((glue_run / "results/evaluate/mlm/RTE/seed-1/metrics.json").read_text())["counts"]
        assert counts["train"]["available"] == 2490
        log = (glue_run / "results/logs/binarize_task/RTE.log").read_text()
        cut = sum(int(n) for n in re.findall(r"/valid/sentence\d: (\d+) items longer than 15 tokens cut", log))
        assert (counts["valid"]["examples"], counts["valid"]["cut"]) == (277, cut)
        assert cut > 0


def test_a_task_that_ships_is_an_entry_and_a_line(tmp_path: Path) -> None:
    """As CONTRIBUTING.md says, in a copy of the repository."""
    clone_with_python(tmp_path)
    with (tmp_path / "resources/tasks.yaml").open("a") as file:
        file.write(
            """
QNLI-2026:
  folder: glue/QNLI-2026
  archive: glue/QNLI-2026.zip
  archive_folder: QNLI-2026
  files:
    train: {path: train.csv, rows: 3}
    valid: {path: dev.csv, rows: 2}
  input_columns: [question, sentence]
  label_column: label
  label_names: [entailment, not_entailment]
  metrics: [macro_f1]
  learning_rate: 2.0e-5
"""
        )
    with (tmp_path / "resources/downloads.tsv").open("a") as file:
        file.write("glue/QNLI-2026.zip\thttps://localhost/QNLI-2026.zip\t1000\t\t\n")
    check = subprocess.run(
        [tmp_path / ".venv/bin/python", "-m", "cross_thought.config"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (check.returncode, check.stdout) == (0, "config: all right\n"), check.stderr
    overlay = {"tasks": {"QNLI-2026": {}}, "data_dir": "mine"}
    (tmp_path / "mine/glue").mkdir(parents=True)
    planned = run_snakemake(
        tmp_path, "download", "--dry-run", overlay=overlay | {"retrieval_tasks": {"HotpotQA-fullwiki": None}}
    )
    assert "Fetch glue/QNLI-2026.zip: 1.0 kB" in planned.stdout + planned.stderr
    assert "Fetch beir/hotpotqa.zip: about 654.0 MB" in planned.stdout + planned.stderr
    with zipfile.ZipFile(tmp_path / "mine/glue/QNLI-2026.zip", "w") as archive:
        archive.writestr("QNLI-2026/train.csv", 'question,sentence,label\n"why, then",a,0\nq,b,1\nq,c,1\n')
        archive.writestr("QNLI-2026/dev.csv", "question,sentence,label\nr,d,0\nr,e,1\n")
    done = run_snakemake(tmp_path, "results/tasks/QNLI-2026", overlay=overlay)
    assert done.returncode == 0, done.stderr[-3000:]
    train = (tmp_path / "results/tasks/QNLI-2026/train.tsv").read_text().splitlines()
    assert train[1:] == ["entailment\twhy, then\ta", "not_entailment\tq\tb", "not_entailment\tq\tc"]


def test_a_file_that_lacks_below_data_dir_is_named_before_it_is_downloaded(tmp_path: Path) -> None:
    folder = tmp_path / "mine/glue/RTE"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).touch()
    done = run_snakemake(tmp_path, "download", "--dry-run", overlay={"tasks": {"RTE": {}}, "data_dir": "mine"})
    assert done.returncode == 0, done.stderr
    assert (
        "RTE: glue/RTE/test.tsv is not in data_dir mine, so glue/RTE.zip must be fetched" in done.stdout + done.stderr
    )


def test_sentences_cut_are_counted(glue_run: Path) -> None:
    if not (REAL_DATA / "glue" / "RTE").is_dir():
        pytest.skip(f"needs the real files in {REAL_DATA}/glue/RTE")
    log = (glue_run / "results/logs/binarize_task/RTE.log").read_text()
    assert re.search(r"train/sentence1: [1-9]\d* items longer than 15 tokens cut", log)


def test_own_files_are_named_in_the_log(glue_run: Path) -> None:
    log = (glue_run / "results/logs/prepare_task/QQP.log").read_text()
    assert f"reading {glue_run / 'own files' / 'glue' / 'QQP-clean.zip'}" in log


def test_the_submission_has_the_files_and_rows_of_glue(glue_run: Path) -> None:
    overlay = yaml.safe_load((glue_run / "overlay.yaml").read_text())
    overlay["submission"] = "incomplete"  # most test sets here are a few rows
    done = run_snakemake(glue_run, "submission", overlay=overlay)
    assert done.returncode == 0, done.stderr[-5000:]
    with zipfile.ZipFile(glue_run / "results/submissions/mlm.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {f"{name}.tsv" for name in (*(set(GLUE) - {"MNLI"}), "MNLI-m", "MNLI-mm", "AX")}
    rows = {name: [line.split("\t") for line in text.splitlines()] for name, text in texts.items()}
    assert all(lines[0] == ["index", "prediction"] for lines in rows.values())
    for name, count in (("RTE", 3000), ("MRPC", 1725), ("SST-2", 1821)):
        if not (REAL_DATA / "glue" / name).is_dir():
            pytest.skip(f"needs the real files in {REAL_DATA}/glue/{name}")
        indices, predictions = zip(*rows[f"{name}.tsv"][1:], strict=True)
        assert indices == tuple(map(str, range(count)))
        assert set(predictions) <= set(TASKS[name].labels)


def test_a_dry_run_lists_every_download_of_the_paper_with_its_size(tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text())
    done = run_snakemake(tmp_path, "download", "--dry-run", overlay=config)
    assert done.returncode == 0, done.stderr
    for text in (
        *("Fetch glue/MNLI.zip: 312.8 MB", "Fetch glue/MRPC/dev_ids.tsv: 6.2 kB", "Fetch snli_1.0.zip: 94.6 MB"),
        *("Fetch gpt2_bpe/encoder.json: 1.0 MB", "Fetch wikipedia/20231101.en.txt: about 20.0 GB"),
    ):
        assert text in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("Fetch ") == 17


def test_the_demo_downloads_nothing(tmp_path: Path) -> None:
    done = run_snakemake(tmp_path, "download", "--dry-run", overlay=TINY)
    assert done.returncode == 0, done.stderr
    assert "fetch_file" not in done.stdout + done.stderr


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the URL of a server and the folder that it serves."""
    folder = tmp_path_factory.mktemp("served")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_download_that_fails_says_why_and_a_second_run_picks_up(host: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = host
    overlay = TINY | {"models": {"given": {"source": "url", "location": f"{url}/model.pt"}}, "control": None}
    done = run_snakemake(tmp_path, "download", overlay=overlay)
    assert done.returncode != 0
    said = (
        f"error: checkpoints/url-\\w+.pt could not be fetched ({url}/model.pt: the server answered 404 File not found)"
    )
    (log,) = tmp_path.glob("results/logs/fetch_file/checkpoints/*.log")
    last = log.read_text().splitlines()[-1]
    assert last.startswith("error: checkpoints/url-")
    assert said.split(" could")[1] in last
    assert last in done.stdout + done.stderr  # show-failed-logs
    assert not list(tmp_path.glob("results/downloads/**/*.p*"))
    (folder / "model.pt").write_bytes(b"weights")
    assert run_snakemake(tmp_path, "download", overlay=overlay).returncode == 0
    (fetched,) = tmp_path.glob("results/downloads/checkpoints/*.pt")
    assert fetched.read_bytes() == b"weights"
    lock = (tmp_path / "results/downloads/downloads.lock.tsv").read_text().splitlines()
    assert lock[1].startswith(f"checkpoints/{fetched.name}\t7\t")
