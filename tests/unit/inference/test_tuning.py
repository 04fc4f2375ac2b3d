"""Tuning: what is learnt, what a killed run goes on to, what the export that comes out is."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from datasets import Dataset
from safetensors.torch import load_file

from cross_thought import SentenceEncoder
from cross_thought.errors import UserError
from cross_thought.inference import tuning
from cross_thought.inference.tuning import AllEpochs, newest_checkpoint, tune

SETTINGS = {
    "num_epochs": 20,
    "batch_size": 7,
    "learning_rate": 5e-3,
    "warmup_fraction": 0.1,
    "weight_decay": 0.0,
    "temperature": 0.05,
    "pooling": "mean",
    "save_interval_updates": 6,
}
NOUNS = ["river", "cat", "pilot", "kitten", "fox", "dog", "words", "planes"]
PAIRS = {
    "anchor": [f"{one} lives near the {other}" for one in NOUNS for other in NOUNS if one < other],
    "positive": [f"by a {other} there is one {one}" for one in NOUNS for other in NOUNS if one < other],
}
NUM_UPDATES = 20 * 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("start") / "model", num_positions=64)


def run(checkpoint: Path, folder: Path, **changed: Any) -> Path:
    """Tune in a folder, and return the export."""
    tune(checkpoint, PAIRS, folder / "runs", folder / "model", settings=SETTINGS | changed, seed=1, device="cpu")
    return folder / "model"


@pytest.fixture(scope="module")
def tuned(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(checkpoint, tmp_path_factory.mktemp("whole"))


def accuracy(model: Path) -> float:
    """Return how often an anchor's positive is the nearest of all."""
    encoder = SentenceEncoder.from_pretrained(model, device="cpu")
    anchors, positives = (encoder.encode(PAIRS[column], normalize=True) for column in ("anchor", "positive"))
    return float(np.mean((anchors @ positives.T).argmax(1) == np.arange(len(anchors))))


def test_positives_become_the_nearest(checkpoint: Path, tuned: Path) -> None:
    assert accuracy(checkpoint) < 0.2
    assert accuracy(tuned) > 0.35


def test_the_history_has_the_loss(tuned: Path) -> None:
    header, *rows = (tuned.parent / "history.tsv").read_text().splitlines()
    assert header.split("\t") == ["num_updates", "epoch", "loss", "learning_rate", "gradient_norm"]
    losses = {int(row.split("\t")[0]): float(row.split("\t")[2]) for row in rows}
    assert list(losses) == list(range(10, NUM_UPDATES + 1, 10))
    assert losses[max(losses)] < 0.7 * losses[10]


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    checkpoint: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tuning._Progress, "on_log", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(UserError, match="was asked to stop and has saved its state: the same command goes on"):
            run(checkpoint, tmp_path)
    assert not (tmp_path / "model").exists()
    newest = newest_checkpoint(tmp_path / "runs")
    assert newest is not None
    updates = int(newest.name.partition("-")[2])
    assert 6 < updates < NUM_UPDATES
    torn = tmp_path / f"runs/checkpoint-{updates + 1}"  # what a kill leaves of a checkpoint
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_')
    capsys.readouterr()
    run(checkpoint, tmp_path)
    assert f"going on from {newest}\n" in capsys.readouterr().out
    weights, expected = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", tuned))
    for name, weight in expected.items():
        assert torch.equal(weights[name], weight), name
    assert (tmp_path / "history.tsv").read_text().count("\n") == (tuned.parent / "history.tsv").read_text().count("\n")


def test_a_loss_that_is_no_number_stops_it(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss of update \d+ is nan: lower embedding_tuning.learning_rate"):
        run(checkpoint, tmp_path, learning_rate=1e30)
    assert not (tmp_path / "model").exists()


def test_hard_negatives_and_pooling_are_taken(checkpoint: Path, tmp_path: Path) -> None:
    pairs = {**PAIRS, "negative": PAIRS["positive"][1:] + PAIRS["positive"][:1]}
    settings = SETTINGS | {"num_epochs": 1, "pooling": "concat"}
    tune(checkpoint, pairs, tmp_path / "runs", tmp_path / "model", settings=settings, seed=1, device="cpu", name="a b")
    assert SentenceEncoder.from_pretrained(tmp_path / "model").encode("a cat").shape == (3 * 32,)
    assert (tmp_path / "model/README.md").read_text().startswith("---")
    assert "a b" in (tmp_path / "model/README.md").read_text()


def test_pairs_of_few_anchors_all_count(checkpoint: Path, tmp_path: Path) -> None:
    pairs = {
        "anchor": [f"the {noun} is here" for noun in NOUNS[:3] for _ in range(5)],
        "positive": [f"here is {number} {noun}" for noun in NOUNS[:3] for number in range(5)],
    }
    options: dict[str, Any] = {"batch_size": 7, "drop_last": False, "generator": torch.Generator(), "seed": 1}
    sampler = AllEpochs(Dataset.from_dict(pairs), num_epochs=2, **options)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    assert sorted(index for batch in batches for index in batch) == sorted([*range(15)] * 2)
    assert all(len({pairs["anchor"][index] for index in batch}) == len(batch) for batch in batches)
    first = batches[: len(AllEpochs(Dataset.from_dict(pairs), num_epochs=1, **options))]
    assert sorted(index for batch in first for index in batch) == [*range(15)]
    assert batches[len(first) :] != first
    settings = SETTINGS | {"num_epochs": 2}
    tune(checkpoint, pairs, tmp_path / "runs", tmp_path / "model", settings=settings, seed=1, device="cpu")
    num_updates, epoch, *_ = (tmp_path / "history.tsv").read_text().splitlines()[-1].split("\t")
    assert int(num_updates) == len(batches) >= 10  # of three pairs at most
    assert float(epoch) == 2


def test_a_short_run_has_a_history_and_its_loss_is_looked_at(checkpoint: Path, tmp_path: Path) -> None:
    run(checkpoint, tmp_path / "well", num_epochs=1, batch_size=10)
    _, *rows = (tmp_path / "well/history.tsv").read_text().splitlines()
    assert [row.split("\t")[:2] for row in rows] == [["3", "1.0"]]
    with pytest.raises(UserError, match=r"the loss of update 3 is nan: lower embedding_tuning.learning_rate"):
        run(checkpoint, tmp_path / "ill", num_epochs=1, batch_size=10, learning_rate=1e30)
    assert not (tmp_path / "ill/model").exists()
