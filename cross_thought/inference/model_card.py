"""The model card of an export: what the checkpoint and the results beside it tell, laid out by model_card.md.jinja."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cross_thought import __version__
from cross_thought.encoder import EncoderConfig
from cross_thought.encoder.heads import FineTunedTask
from cross_thought.environment import environment
from cross_thought.inference.settings import EmbeddingSettings

LIBRARY_VERSION = "6.2.0"  # of Sentence Transformers, that exports are tested with

_SIZES = (
    "vocab_size", "num_layers", "embed_dim", "ffn_dim", "num_heads", "num_slots", "segment_length", "num_positions"
)  # fmt: skip
# fairseq's arguments that tell how a checkpoint was trained
_TRAINING_ARGUMENTS = (
    "task", "arch", "data", "started_from", "max_update", "warmup_updates", "lr", "batch_size", "update_freq",
    "tokens_per_sample", "sample_break_mode", "mask_prob", "dropout", "weight_decay", "no_cross_sequence", "seed",
)  # fmt: skip
_PRETRAINING = "pretraining.csv"
_RESULTS = {
    "embeddings.csv": "The embeddings as they are, without fine-tuning, over seeds of pre-training:",
    "retrieval.csv": "Retrieval over collections, without fine-tuning, over seeds of pre-training:",
    "tasks.csv": "After fine-tuning on each task, over seeds:",
}


def model_card(
    name: str,
    config: EncoderConfig,
    settings: EmbeddingSettings,
    *,
    task: FineTunedTask | None,
    arguments: Mapping[str, Any] | None,
    source: str,
    results: Path | None,
    code: Sequence[str],
    graphs: Mapping[str, str],
) -> str:
    """Return the README.md of an export of this name.

    Args:
        name: of the model.
        config: of the encoder.
        settings: how its embeddings are made.
        task: what it was fine-tuned on; None: nothing.
        arguments: fairseq's, from the checkpoint; None: it comes from a model folder, which has none.
        source: the name of what is exported.
        results: results folder of the workflow; None: there is none.
        code: the Python files that the export carries.
        graphs: the ONNX files that it carries, and what was found of each.
    """
    provenance = _provenance(results)
    tables = _tables(results, provenance)
    pretraining = [row for row in tables[_PRETRAINING] if row["model"] == name]
    longest = config.max_sentence_length
    templates = Environment(
        loader=PackageLoader("cross_thought.inference", ""),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return templates.get_template("model_card.md.jinja").render(
        name=name,
        config=config,
        sizes=[(f"`{key}`", getattr(config, key)) for key in _SIZES],
        layers=[type(layer).__name__ for layer in settings.layers],
        default_prompt=settings.default_prompt,
        task=task,
        metrics=[
            (split, metric, "n/a" if value is None else f"{100 * value:.1f}")
            for split, figures in (task.metrics if task else {}).items()
            for metric, value in figures.items()
        ],
        longest=min(settings.max_seq_length or longest, longest),
        arguments=[(f"`{key}`", arguments[key]) for key in _TRAINING_ARGUMENTS if arguments.get(key) is not None]
        if arguments
        else None,
        source=source,
        code=code,
        graphs=graphs,
        library_version=LIBRARY_VERSION,
        data=[
            (item["path"], item["bytes"], item["sha256"])
            for item in provenance.get("data", [])
            if "/corpus/" in item["path"] or "/vocabulary/" in item["path"]
        ],
        pretraining=(list(pretraining[0]), [list(row.values()) for row in pretraining]) if pretraining else None,
        results=[(title, rows) for table, title in _RESULTS.items() if (rows := _result_rows(tables[table], name))],
        version=__version__,
        now=environment(),
        made=provenance.get("made"),
    )


def known_models(results: Path) -> list[str]:
    """Return the names of the models that result tables tell of."""
    return sorted({row["model"] for rows in _tables(results, _provenance(results)).values() for row in rows})


def _result_rows(rows: Sequence[Mapping[str, str]], name: str) -> list[list[str]]:
    """Return a model's rows of a result table, as the card has them."""
    return [
        [
            row["task"],
            row["split"],
            row["metric"],
            " ± ".join(f"{float(row[key]):.1f}" for key in ("mean", "sd") if row[key]),
            row["n"],
            row["num_examples"],
        ]
        for row in rows
        if row["kind"] == "model" and row["model"] == name
    ]


def _provenance(results: Path | None) -> dict[str, Any]:
    """Return what is recorded of the numbers in a results folder; nothing if there is no record."""
    path = None if results is None else results / "provenance.json"
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}


def _tables(results: Path | None, provenance: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each table that cards tell of, by its file's name; of one that is not there, none.

    Where a provenance has no number of a table, that is left of an earlier config: none of it, either.
    """
    found: dict[str, list[dict[str, str]]] = {name: [] for name in (*_RESULTS, _PRETRAINING)}
    numbers = provenance.get("numbers")
    of_run = None if numbers is None else {f"{number['table']}.csv" for number in numbers}
    for name in found:
        if results is not None and (of_run is None or name in of_run) and (results / "tables" / name).is_file():
            with open(results / "tables" / name, encoding="utf-8", newline="") as file:
                found[name] = list(csv.DictReader(file))
    return found
