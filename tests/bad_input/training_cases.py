"""Trainings that cannot end well: a real fairseq on a few made-up documents."""

import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cross_thought.config import load_config
from cross_thought.data.binarize import DatasetWriter
from cross_thought.training.launch import run_key
from tests.bad_input.cases import Case, refusal
from workflow_scripts.pretrain import pretrain, training_flags

DATA, CHECKPOINT = Path("data"), Path("results/pretrain/mine/seed-1/model.pt")
NUM_SYMBOLS = 20
HARDWARE = load_config({})["hardware"]


def train(**changes: object) -> str:
    """Pre-train the demo's model with settings changed; return why it stopped, the run's own name left out."""
    model = changed_model(**changes)
    write_documents()
    sentence = refusal(
        lambda: pretrain(
            DATA,
            model=model,
            seed=1,
            hardware=HARDWARE,
            checkpoint=CHECKPOINT,
            history=CHECKPOINT.with_name("history.tsv"),
            command_record=CHECKPOINT.with_name("command.json"),
        )
    )
    assert "Traceback" not in sentence
    assert not CHECKPOINT.exists()
    assert not list(Path().rglob("*.partial"))
    return re.sub(r"runs/\w{16}/", "runs/RUN/", sentence)


def changed_model(**changes: object) -> dict:
    """Return the demo's model with a training of two updates, settings of which may change, or sizes."""
    model = load_config({})["models"]["mlm"]
    sizes = {key: value for key, value in changes.items() if key in model}
    short = {"max_updates": 4, "warmup_updates": 1, "batch_size": 4, "save_interval_updates": 2}
    settings = {key: value for key, value in changes.items() if key not in model}
    return model | sizes | {"pretraining": model["pretraining"] | short | settings}


def write_documents(*, first_sentence: int = 12) -> None:
    """Write documents of eight sentences of 12 symbols, as binarized, the first of each split with another number."""
    DATA.mkdir()
    (DATA / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(NUM_SYMBOLS)))
    draw = np.random.default_rng(1)
    for split, num_documents in (("train", 16), ("valid", 4)):
        with DatasetWriter(DATA / split, dictionary_size=4 + NUM_SYMBOLS) as writer:
            for number in range(num_documents):
                lengths = [12 if number else first_sentence, *[12] * 7, 1]
                symbols = draw.integers(4, 4 + NUM_SYMBOLS, sum(lengths))
                symbols[np.cumsum(lengths) - 1] = 2  # </s>
                writer.write(symbols, np.array(lengths))


def full_disk() -> str:
    """Train with the place of the first checkpoint on a disk that is full."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    write_documents()
    flags = training_flags(changed_model(), seed=1, hardware=HARDWARE)
    run = CHECKPOINT.parent / "runs" / run_key(flags, DATA)
    run.mkdir(parents=True)
    (run / ".checkpoint_1_2.pt.partial").symlink_to("/dev/full")
    for path in DATA.iterdir():
        path.unlink()
    DATA.rmdir()
    return train()


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def limited_files() -> str:
    """Train where a file may not be as large as a checkpoint."""
    with largest_file(200_000):
        return train()


def killed() -> str:
    """Train with a process that is killed, as the system does where memory ends."""
    script = Path("killed").absolute()
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", os.fspath(script))
        return train()


CASES = [
    Case(group="Training", what="a learning rate of 1,000,000,000", run=partial(train, learning_rate=1e9)),
    Case(group="Training", what="a model that no memory holds", run=partial(train, num_positions=2**45)),
    Case(group="Training", what="a process killed by the system", run=killed),
    Case(group="Training", what="a disk that is full when a checkpoint is saved", run=full_disk),
    Case(group="Training", what="a limit on the size of files", run=limited_files),
    Case(
        group="Training",
        what="a stream longer than a batch may be",
        run=partial(train, extra_args=["--max-tokens", "20"]),
    ),
]
