"""A RoBERTa of Hugging Face's becomes a Cross-Thought encoder: pre-trained from there, fine-tuned, evaluated, exported."""

import csv
import json
import re
import shutil
import struct
from pathlib import Path

import pytest
import torch

from cross_thought import SentenceEncoder
from cross_thought.training.checkpoints import load_checkpoint
from tests.unit.robertas import hugging_face_roberta
from tests.workflow.conftest import TINIEST, losses, run_snakemake

pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
UPDATES = 50


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Return what TensorBoard's event files of a folder have: for each name, the value at each update."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:  # records: length, its checksum, an event, its checksum
            (length,) = struct.unpack("<Q", content[:8])
            event, content = Event.FromString(content[12 : 12 + length]), content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def check_curves(results: Path) -> None:
    """Hold the event files against the loss curves that stand beside the models."""
    for training in ("pretrain/warm/seed-1", "finetune/warm/demo-match/seed-1"):
        (run,) = (results / "tensorboard" / training).iterdir()
        expected = losses(results / training / "history.tsv")
        for split, tag in (("train", "train_inner"), ("valid", "valid")):
            curve = {update: loss for (name, update), loss in expected.items() if name == split}
            assert curve
            assert scalars(run / tag)["loss"] == pytest.approx(curve, abs=0.01)


def test_a_roberta_goes_through_the_chain(tiniest_run: Path, tmp_path: Path) -> None:
    for name in ("bpe", "binarized", "corpus", "tasks", "downloads"):
        shutil.copytree(tiniest_run / "results" / name, tmp_path / "results" / name)
    shutil.copytree(tiniest_run / ".snakemake", tmp_path / ".snakemake")
    roberta = hugging_face_roberta(tmp_path / "results/bpe/vocabulary", tmp_path / "roberta", initializer_range=0.02)
    model = {
        "initialize_from": str(tmp_path / "roberta"),
        "num_layers": 4,
        "embed_dim": 32,
        "ffn_dim": 48,
        "num_positions": 64,
    }
    training = {"max_updates": UPDATES, "warmup_updates": 10, "save_interval_updates": 25}
    overlay = TINIEST | {"models": {"warm": model | {"pretraining": training}}, "control": None}
    overlay |= {
        "tracking": "tensorboard",
        "finetuning": {"num_epochs": 1, "class_weights": "balanced", "label_smoothing": 0.1},
    }
    done = run_snakemake(tmp_path, "exports", "finetune", overlay=overlay)
    assert done.returncode == 0, done.stderr[-5000:]

    run = tmp_path / "results/pretrain/warm/seed-1"
    assert not (run / "start.pt").exists()  # it is done with
    log = (tmp_path / "results/logs/make_start/warm/seed-1.log").read_text()
    assert "/roberta: 4 of its 4 layers; cross layers copies of its last layer; LM head its own" in log
    assert losses(run / "history.tsv")["train", UPDATES] > 0
    with (tmp_path / "results/evaluate/warm/demo-match/seed-1/predictions.tsv").open() as file:
        assert {row["prediction"] for row in csv.DictReader(file, delimiter="\t")} <= {"entailment", "not_entailment"}

    command = json.loads((tmp_path / "results/finetune/warm/demo-match/seed-1/command.json").read_text())
    assert "--class-weights" in str(command)
    check_curves(tmp_path / "results")

    # after 50 small steps, it is still closer to what it started from than to anything drawn
    weights = load_checkpoint(run / "model.pt")["model"]
    trained, given = weights["encoder.sentence_encoder.layers.2.fc1.weight"], roberta.roberta.encoder.layer[2]
    assert not torch.equal(trained, given.intermediate.dense.weight)
    assert torch.cosine_similarity(trained.flatten(), given.intermediate.dense.weight.flatten(), dim=0) > 0.8
    assert "| `started_from` | roberta |" in (tmp_path / "results/exports/warm/seed-1/README.md").read_text()
    exported = SentenceEncoder.from_pretrained(tmp_path / "results/exports/warm/seed-1")
    checkpoint = SentenceEncoder.from_pretrained(run / "model.pt")
    sentence = ["Ada keeps hens ."]
    torch.testing.assert_close(torch.tensor(exported.encode(sentence)), torch.tensor(checkpoint.encode(sentence)))

    # in another place, it is the same start; other weights in that place are another
    (tmp_path / "roberta").rename(tmp_path / "moved")
    overlay["models"]["warm"]["initialize_from"] = "moved"
    again = run_snakemake(tmp_path, "pretrain", "finetune", "--dry-run", overlay=overlay)
    assert again.returncode == 0, again.stderr[-5000:]
    assert not re.findall(r"^rule (?:pretrain|finetune)_\w+:$", again.stdout + again.stderr, flags=re.MULTILINE)
    hugging_face_roberta(tmp_path / "results/bpe/vocabulary", tmp_path / "moved", initializer_range=0.03)
    again = run_snakemake(tmp_path, "pretrain", "--dry-run", overlay=overlay)
    assert "pretrain_model" in again.stdout + again.stderr
