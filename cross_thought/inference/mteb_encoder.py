"""Embeddings scored by the library mteb, on tasks of the Massive Text Embedding Benchmark or of one's own."""

import importlib.util
import inspect
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mteb
import numpy as np
from mteb.abstasks import AbsTask
from mteb.cache import ResultCache
from mteb.models import ModelMeta
from mteb.similarity_functions import cos_sim, pairwise_cos_sim
from torch import Tensor

from cross_thought.errors import UserError
from cross_thought.inference.embed import SentenceEncoder


class MTEBEncoder:
    """A `SentenceEncoder` as mteb's `EncoderProtocol` has it; `mteb.evaluate` takes it for a model.

    Args:
        encoder: ours.
        name: `OWNER/NAME`, and
        revision: of the model: mteb keeps results under both, and does not compute them again.
        pooling: of the slot states; None: the encoder's own.
    """

    def __init__(self, encoder: SentenceEncoder, *, name: str, revision: str, pooling: str | None = None) -> None:
        self.encoder = encoder
        self.pooling = pooling
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": name, "revision": revision, "embed_dim": encoder.embedding_dim(pooling), "framework": ["PyTorch"]}
        )

    def encode(self, inputs: Iterable[dict[str, Any]], **_: Any) -> np.ndarray:
        """Embed the `text` of all batches, shape (number of texts, embedding_dim); mteb's options change nothing."""
        return self.encoder.encode([text for batch in inputs for text in batch["text"]], pooling=self.pooling)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Return the cosine of each embedding with each, shape (n1, n2)."""
        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Return the cosine of each embedding with its partner, shape (n,)."""
        return pairwise_cos_sim(embeddings1, embeddings2)


def mteb_tasks(names: Iterable[str]) -> list[AbsTask]:
    """Return tasks by their names, those of a benchmark by its, and those that a file of Python defines by its path.

    Raises:
        UserError: if there is no such task, benchmark or file, or a file without a task, or a task comes twice.
    """
    tasks = [task for name in names for task in (_own_tasks(Path(name)) if name.endswith(".py") else _known(name))]
    seen = [task.metadata.name for task in tasks]
    twice = next((name for name in seen if seen.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"mteb_tasks has {twice} twice, alone or in a benchmark: leave one out")
    return tasks


def _known(name: str) -> Sequence[AbsTask]:
    try:
        return [mteb.get_task(name)]
    except KeyError as no_task:
        try:
            return list(mteb.get_benchmark(name).tasks)
        except KeyError as no_benchmark:
            said = "; ".join(str(error.args[0]).removeprefix("KeyError: ") for error in (no_task, no_benchmark))
            raise UserError(
                f"mteb_tasks: {name!r} is no task and no benchmark of mteb {mteb.__version__} ({said}): correct it"
            ) from None


def _own_tasks(path: Path) -> list[AbsTask]:
    if not path.is_file():
        raise UserError(f"mteb_tasks: {path} is missing: give a file of Python with tasks in mteb's form")
    spec = importlib.util.spec_from_file_location(f"own_tasks_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [
        task()
        for task in vars(module).values()
        if inspect.isclass(task) and issubclass(task, AbsTask) and task.__module__ == spec.name
    ]
    if not found:
        raise UserError(f"mteb_tasks: {path} defines no task: write a class of one of mteb.abstasks' kinds")
    return found


def mteb_scores(model: MTEBEncoder, tasks: Iterable[AbsTask], cache: Path) -> dict[str, dict[str, Any]]:
    """Score a model on tasks; what `cache` has of this revision of the model is not computed again.

    Returns:
        For each task its `type`, its `metric` (the main one), the `score` of that, in mteb's units (most are from 0 to
        1; None where there is none, as of a correlation with what is constant), over all splits and languages, and the
        `revision` of its data.

    Raises:
        UserError: if a task's data cannot be fetched.
    """
    scores = {}
    for task in tasks:
        about = task.metadata
        try:
            (result,) = mteb.evaluate(
                model, task, cache=ResultCache(cache), show_progress_bar=False, co2_tracker=False
            ).task_results
        except OSError as error:
            raise UserError(
                f"mteb_tasks: the data of {about.name} cannot be fetched ({error}): fetch them where there is a "
                "network, and set HF_HOME to that cache"
            ) from None
        scores[about.name] = {
            "type": about.type,
            "metric": about.main_score,
            "score": score if math.isfinite(score := float(result.get_score())) else None,
            "revision": about.revision,
        }
        print(f"{about.name} ({about.type}): {about.main_score} {scores[about.name]['score']}", flush=True)
    return scores
