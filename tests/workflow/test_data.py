"""Every task through the whole chain, own files before downloads, and what a failed download leaves."""

import json
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from cross_thought.data.tasks import TASKS
from tests.unit.data.glue_format import GLUE, write_archive
from tests.workflow.conftest import REPOSITORY, TINY, run_snakemake

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", REPOSITORY.parent / "shared" / "data"))
ALL_TASKS = (*GLUE, "SNLI")
COUNTS = {"train": 40, "valid": 24, "test": 8}
METRICS = {
    "CoLA": {"matthews"},
    "MRPC": {"accuracy", "f1"},
    "QQP": {"accuracy", "f1"},
    "STS-B": {"pearson", "spearman"},
}


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
    done = run_snakemake(glue_run, "submission", overlay=overlay)
    assert done.returncode == 0, done.stderr[-5000:]
    with zipfile.ZipFile(glue_run / "results/submissions/mlm.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {f"{name}.tsv" for name in (*(set(GLUE) - {"MNLI"}), "MNLI-m", "MNLI-mm")}
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
    assert (done.stdout + done.stderr).count("Fetch ") == 16


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
