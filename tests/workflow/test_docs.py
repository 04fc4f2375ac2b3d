"""The pages of docs/, followed to the letter: files as they show them, then every command, in a clone after its demo."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from cross_thought.config import load_config, load_files
from cross_thought.data.starts import start_files
from cross_thought.fairseq.start import write_start
from cross_thought.training.checkpoints import load_checkpoint
from cross_thought.training.roberta import ENCODER, read_fairseq

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["answer-selection.md", "archive.md", "embedding.md", "export.md", "own-corpus.md", "own-task.md"]
PAGES += ["predicting.md", "tuning.md"]
NOT_HERE = {
    "captions.md": "an hour; tests/workflow/test_captions_chain.py does it cut small",
    "cluster.md": "a cluster; tests/workflow/test_slurm.py and test_schedulers.py do it",
    "full-run.md": "days on GPUs; tests/workflow/test_workflow.py plans it",
    "real-data.md": "six minutes, and files that have to be fetched; tests/workflow/test_data.py has files of their forms",
    "running.md": "conda from its channel, and files of the reader's; tests/workflow/test_conda.py has a channel made here",
    "warm-start.md": "a quarter of an hour; tests/workflow/test_start_chain.py starts from a RoBERTa",
}


def steps(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield a page's fenced blocks: kind, content, and for a file its name, the last that stands before the block."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        kind, content = match.groups()
        names = re.findall(r"`([\w/-]+\.(?:txt|tsv|csv|jsonl?|yaml))`", text[: match.start()])
        yield kind, content, names[-1] if kind in ("text", "yaml") else ""


@pytest.fixture
def clone(clone: Path) -> Path:
    """Return a clone after `make demo`, its configs cut down: the pages are about all else."""
    overlay = yaml.safe_load((clone / "overlay.yaml").read_text(encoding="utf-8"))
    (clone / "config.yaml").write_text(yaml.safe_dump(load_config(overlay), sort_keys=False), encoding="utf-8")
    path = clone / "config/answer-selection.yaml"
    answers = yaml.safe_load(path.read_text(encoding="utf-8"))
    answers["tasks"]["demo-answer"] = {"max_train_examples": 96}
    path.write_text(yaml.safe_dump(answers), encoding="utf-8")
    command = clone / ".venv/bin/snakemake"
    command.write_text('#!/bin/sh\nexec python -m snakemake "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return clone


def follow(page: str, directory: Path) -> list[str]:
    """Do what a page says, and return what its commands printed."""
    path = os.pathsep.join([str(directory / ".venv/bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1", "HF_HOME": str(directory / "hub")}
    printed = []
    for kind, content, name in steps(page):
        if name:
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(content, encoding="utf-8")
            continue
        command = ["bash", "-euo", "pipefail", "-c", content] if kind == "bash" else ["python", "-c", content]
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=False, text=True)
        assert done.returncode == 0, f"{page}: {content}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        printed.append(done.stdout)
    return printed


def test_no_page_is_forgotten() -> None:
    runnable = [path.name for path in DOCS.glob("*.md") if "```bash" in path.read_text(encoding="utf-8")]
    assert sorted(runnable) == sorted([*PAGES, *NOT_HERE])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_says(page: str, clone: Path) -> None:
    printed = follow(page, clone)
    made = {
        "answer-selection.md": [
            f"results/tasks/{name}/summary.json" for name in ("in-a-row", "row-by-row", "hops", "trivia", "trec")
        ],
        "archive.md": ["results/archive.zip", "unpacked/ro-crate-metadata.json", "unpacked/results/report.html"],
        "embedding.md": ["embeddings.npy", "normalized.npy", "results/tables/embeddings.md"],
        "export.md": [
            "exported/model.safetensors",
            "exported-onnx/model.onnx",
            "exported-int8/model.onnx",
            "results/exports/mlm/seed-1/modules.json",
        ],
        "own-corpus.md": ["results/pretrain/letters/seed-1/model.pt", "letters.npy"],
        "own-task.md": [
            "results/evaluate/cross_thought/tickets/seed-1/predictions.tsv",
            *("results/tables/embeddings.md", "results/retrieval/cross_thought/hens/mean/seed-1/run.trec"),
            *(f"results/tasks/{name}/summary.json" for name in ("reviews", "lines", "from-the-hub")),
        ],
        "predicting.md": ["tuned/model.safetensors"],
        "tuning.md": ["tuned.npy", "results/tune/mlm/demo-match/seed-2/model/modules.json"],
    }[page]
    assert [name for name in made if not (clone / name).is_file()] == []
    if page == "archive.md":
        assert [text.endswith("; all agree\n") for text in printed] == [False, True, True]
    if page == "own-task.md":
        assert "tickets" in printed[0]  # the tables of the run
        assert "my-sts (test), similarity: 5 pairs" in printed[-1]
        assert "my-sts (test): 1 of 6 pairs left out." in printed[-1]
        assert "tickets (valid), probe: 4 examples" in printed[-1]
        assert "hens (test): 2 queries, 3 passages, 2 right ones to find" in printed[-1]
        assert re.search(r"\| bm25 +\| 100\.0 ", printed[-1])
    if page == "answer-selection.md":
        valid = clone / "results/tasks/trivia/valid.tsv"
        for line, right in zip(
            valid.read_text().splitlines()[1:], ("The baker keeps hens .", "The mill burns ."), strict=True
        ):
            label, _, *passages = line.split("\t")
            assert passages[int(label) - 1] == right
        labels = [line.split("\t")[0] for line in (clone / "results/tasks/in-a-row/valid.tsv").read_text().splitlines()]
        assert labels == ["label", "1", "1 2", "0"]
    if page == "tuning.md":
        assert "cross_thought (tuned on demo-match)" in printed[0]
    if page == "predicting.md":
        assert_all_predictions_agree(clone)
    if page == "embedding.md":
        assert_answers_are_ranked(clone)


def test_the_roberta_of_a_page_is_a_start(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("results/binarized/corpus", "results/bpe/vocabulary"):
        shutil.copytree(tiny_run / name, tmp_path / name)
    ((_, content, _),) = steps("warm-start.md")
    _, train, copy, run = content.replace("\\\n", "").splitlines()
    commands = f"{train.replace(' 1800', ' 2')}\n{copy}\n"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.chdir(tmp_path)
    other = Path("results/pretrain/cross_thought/seed-1/model.pt")
    other.parent.mkdir(parents=True)
    other.touch()
    models = load_files([DOCS.parent / run.split()[-1]])["models"]
    robertas = {name: model for name, model in models.items() if "roberta" in name}
    assert {model["cross_layers"] for model in robertas.values()} == {"copy", "random"}
    weights = read_fairseq(Path("results/roberta/checkpoint_last.pt")).weights
    layer = weights[f"{ENCODER}layers.0.fc1.weight"]
    for name, model in robertas.items():
        files = list(map(Path, start_files(model["initialize_from"], data_dir=None)))
        write_start(files, Path("results/bpe/vocabulary"), tmp_path / "start.pt", name=name, model=model, seed=1)
        found = load_checkpoint(tmp_path / "start.pt")["model"]
        assert torch.equal(found[f"{ENCODER}layers.0.fc1.weight"], layer)
        is_copy = torch.equal(found[f"{ENCODER}crossthought_layers.0.fc1.weight"], layer)
        assert is_copy == (model["cross_layers"] == "copy")


def assert_all_predictions_agree(directory: Path) -> None:
    """Hold what the workflow, the command line, a pipe and an export answered against each other."""
    names = ["results/predict/new-pairs/predictions.tsv", "predictions.tsv", "from-stdin.tsv", "again.tsv"]
    found = [list(csv.DictReader((directory / name).open(), delimiter="\t")) for name in names]
    assert [row["index"] for row in found[0]] == ["0", "1", "2"]
    for row, twin in zip(found[0], found[1], strict=True):
        scores = {label: float(row[f"score_{label}"]) for label in ("entailment", "not_entailment")}
        assert row["prediction"] == max(scores, key=scores.__getitem__)
        assert [float(twin[f"score_{label}"]) for label in scores] == pytest.approx(list(scores.values()), abs=1e-5)
    answers = [[(row["index"], row["prediction"]) for row in rows] for rows in found]
    assert answers == [answers[0]] * len(names)


def assert_answers_are_ranked(directory: Path) -> None:
    """Hold what answer selection wrote against itself, and all numbers against the predictions."""
    folder = directory / "results/evaluate/cross_thought/demo-answer/seed-1"
    rows = list(csv.DictReader((folder / "predictions.tsv").open(), delimiter="\t"))
    assert {row["split"] for row in rows} == {"valid", "test"}
    for row in rows:
        ranking, weights = row["prediction"].split(), [float(row[f"score_{number}"]) for number in "1234"]
        assert sorted(ranking) == ["1", "2", "3", "4"]
        assert sum(weights) == pytest.approx(1, abs=1e-5)
        assert ranking[0] == "1234"[weights.index(max(weights))]
    valid = [row for row in rows if row["split"] == "valid"]
    ranks = [row["prediction"].split().index(row["label"]) + 1 for row in valid]
    scored = json.loads((folder / "metrics.json").read_text())["splits"]
    assert list(scored) == ["valid"]
    assert scored["valid"]["majority_rate"] == 0.25
    assert scored["valid"]["metrics"] == pytest.approx(
        {"accuracy": ranks.count(1) / len(ranks), "mrr": sum(1 / rank for rank in ranks) / len(ranks)}
    )
    history = (directory / "results/finetune/cross_thought/demo-answer/seed-1/history.tsv").read_text()
    assert re.search(r"^valid\t\d+\t[\d.]+\t\S*\t[\d.]+\t", history, flags=re.MULTILINE)
    tables = (directory / "results/tables/tasks.md").read_text()
    assert "demo-answer acc." in tables
    assert "demo-answer MRR" in tables
    assert "`majority`: what a random order is expected to score" in tables
    verify = [".venv/bin/python", "-m", "cross_thought.tables.verify"]
    done = subprocess.run(verify, cwd=directory, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
