"""Models as a user of Sentence Transformers loads and saves them."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer


def load(folder: Path, **options: object) -> SentenceTransformer:
    """Load a model as a user of the library does."""
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu", local_files_only=True, **options)


def save(folder: Path, export: Path, *behind: torch.nn.Module, **options: object) -> SentenceTransformer:
    """Save an export with modules behind its encoder."""
    model = SentenceTransformer(modules=[load(export)[0], *behind], device="cpu", **options)
    model.save_pretrained(str(folder))
    return model
