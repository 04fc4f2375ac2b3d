"""Models that several modules of tests load."""

from pathlib import Path

import pytest
from checkpoints import write_checkpoint, write_fine_tuned

from cross_thought.inference.export import export_model


@pytest.fixture(scope="module")
def pairs_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a classification of pairs; `export` beside it is its export."""
    checkpoint = write_fine_tuned(tmp_path_factory.mktemp("pairs") / "model", metrics={"valid": {"accuracy": 0.5}})
    export_model(checkpoint, checkpoint.parent / "export", output_format="sentence-transformers")
    return checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with five slots."""
    return write_checkpoint(tmp_path_factory.mktemp("k5") / "model", num_slots=5, segment_length=64)


@pytest.fixture(scope="module")
def export(checkpoint: Path) -> Path:
    """Return an export for Sentence Transformers, k = 5."""
    export_model(checkpoint, checkpoint.parent / "export", output_format="sentence-transformers")
    return checkpoint.parent / "export"
