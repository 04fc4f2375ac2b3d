"""Recompute every number of the tables from the predictions and hold it against what the files say.

`python -m cross_thought.tables.verify [RESULTS]` names each number that differs and exits 1, or says how many
agree. The bootstrap's numbers are among them: its generator is seeded.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cross_thought.data.tasks import REGISTRY_FILE, Task, embedding_tasks_of, tasks_of
from cross_thought.environment import REPOSITORY, repository_file
from cross_thought.errors import UserError, exit_on_user_error
from cross_thought.evaluation.aggregate import summarise
from cross_thought.evaluation.embeddings import LEXICAL, embeddings_document, read_pairs
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.tables.ablations import ablation_latex, ablation_markdown, factors_of, read_ablation_rows
from cross_thought.tables.embeddings import embedding_rows, embeddings_latex, embeddings_markdown
from cross_thought.tables.tables import (
    cross_path_latex,
    cross_path_markdown,
    csv_cell,
    pretraining_latex,
    pretraining_markdown,
    read_cross_path_rows,
    read_pretraining_rows,
    reference_rows,
    task_latex,
    task_markdown,
    task_rows,
)

REFERENCES = REPOSITORY / "resources" / "reference_results.tsv"


@dataclass(frozen=True)
class Number:
    """One number of a results file: where it stands, what is written there, what comes out now."""

    place: str
    written: str
    computed: str

    @property
    def agrees(self) -> bool:
        """Whether the file says what comes out now."""
        return self.written == self.computed

    def __str__(self) -> str:
        """Say what differs, for a person."""
        return f"{self.place}: the file says {self.written or 'nothing'}, recomputed {self.computed or 'nothing'}"


def task_numbers(
    results: Path, *, models: Sequence[str], tasks: Mapping[str, Task], seeds: Sequence[int], control: str | None
) -> Iterator[Number]:
    """Recompute `metrics.json` and the task tables from each `predictions.tsv`."""
    documents, predictions = [], {}
    for model in models:
        for task in tasks.values():
            for seed in seeds:
                folder = results / "evaluate" / model / task.name / f"seed-{seed}"
                splits = read_predictions(folder / "predictions.tsv")
                written = _read_json(folder / "metrics.json")
                computed = metrics_document(
                    model=model,
                    task=task,
                    seed=seed,
                    predictions=splits,
                    # Not in the predictions: facts about the data.
                    num_train_examples=written.get("num_train_examples"),
                    counts=written.get("counts"),
                )
                yield from _json_numbers(str(folder / "metrics.json"), written, computed)
                predictions[model, task.name, seed] = splits
                documents.append(computed)
    rows = task_rows(summarise(documents, models=models, tasks=tasks), predictions, tasks=tasks, control=control)
    rows += reference_rows(REFERENCES, rows)
    tables = results / "tables"
    yield from _csv_numbers(tables / "tasks.csv", rows, ("kind", "model", "task", "split", "metric"))
    yield from _text_lines(tables / "tasks.md", task_markdown(rows, tasks=tasks))
    yield from _text_lines(tables / "tasks.tex", task_latex(rows, tasks=tasks))


def embedding_numbers(results: Path, config: Mapping, *, seeds: Mapping[str, Sequence[int]]) -> Iterator[Number]:
    """Recompute `metrics.json` and the tables of embeddings from each `pairs.tsv`; `seeds` are those of each model."""
    tasks = embedding_tasks_of(config)
    pooling = config["embedding"]["pooling"]
    runs = [(model, seed, f"seed-{seed}", pooling) for model, those in seeds.items() for seed in those]
    documents = []
    for model, seed, place, pooled in [*runs, (LEXICAL, None, "", None)]:
        for name, task in tasks.items():
            folder = results / "embeddings" / model / name / place
            pairs = read_pairs(folder / "pairs.tsv")
            computed = embeddings_document(model=model, task=task, seed=seed, pooling=pooled, pairs=pairs)
            yield from _json_numbers(str(folder / "metrics.json"), _read_json(folder / "metrics.json"), computed)
            documents.append(computed)
    ours, lexical = documents[: -len(tasks)], documents[-len(tasks) :]
    rows = embedding_rows(ours, lexical, models=list(seeds), tasks=tasks)
    tables = results / "tables"
    yield from _csv_numbers(tables / "embeddings.csv", rows, ("kind", "model", "task", "split", "metric"))
    yield from _text_lines(tables / "embeddings.md", embeddings_markdown(rows, tasks=tasks, pooling=pooling))
    yield from _text_lines(tables / "embeddings.tex", embeddings_latex(rows, tasks=tasks, pooling=pooling))


def pretraining_numbers(results: Path, *, models: Sequence[str], seeds: Sequence[int]) -> Iterator[Number]:
    """Recompute the pre-training tables from each `history.tsv`."""
    rows = read_pretraining_rows(
        results / "pretrain" / model / f"seed-{seed}" / "history.tsv" for model in models for seed in seeds
    )
    tables = results / "tables"
    yield from _csv_numbers(tables / "pretraining.csv", rows, ("model", "seed"))
    yield from _text_lines(tables / "pretraining.md", pretraining_markdown(rows))
    yield from _text_lines(tables / "pretraining.tex", pretraining_latex(rows))


def cross_path_numbers(results: Path) -> Iterator[Number]:
    """Recompute the cross-path tables from the reports that are there; nothing if there is no such table."""
    tables = results / "tables"
    if not (tables / "cross_path.csv").exists():
        return
    with (tables / "cross_path.csv").open(encoding="utf-8", newline="") as file:
        written = {row["model"]: row["seeds"].split() for row in csv.DictReader(file)}
    rows = read_cross_path_rows(
        results / "cross_path" / model / f"seed-{seed}.json" for model, seeds in written.items() for seed in seeds
    )
    yield from _csv_numbers(tables / "cross_path.csv", rows, ("model", "condition"))
    yield from _text_lines(tables / "cross_path.md", cross_path_markdown(rows))
    yield from _text_lines(tables / "cross_path.tex", cross_path_latex(rows))


def ablation_numbers(
    results: Path, config: Mapping, *, tasks: Mapping[str, Task], pretraining_seeds: Sequence[int]
) -> Iterator[Number]:
    """Recompute the ablation tables from the histories, the cross-path reports that are there, and the metrics."""
    factors = factors_of(config)
    models = dict.fromkeys(model for settings in factors.values() for model in settings)
    runs = [f"{model}/seed-{seed}" for model in models for seed in pretraining_seeds]
    reports = [results / "cross_path" / f"{run}.json" for run in runs]
    rows = read_ablation_rows(
        factors,
        histories=[results / "pretrain" / run / "history.tsv" for run in runs],
        cross_path_reports=[report for report in reports if report.exists()],
        metrics=[
            results / "evaluate" / model / task / f"seed-{seed}" / "metrics.json"
            for model in models
            for task in tasks
            for seed in config["seeds"]
        ],
        tasks=tasks,
    )
    tables, demo = results / "tables", config["corpus"]["source"] == "demo"
    yield from _csv_numbers(tables / "ablations.csv", rows, ("factor", "model", "task", "metric"))
    yield from _text_lines(tables / "ablations.md", ablation_markdown(rows, demo=demo))
    yield from _text_lines(tables / "ablations.tex", ablation_latex(rows, demo=demo))


def numbers(results: Path) -> Iterator[Number]:
    """Recompute all tables under a `results` folder, as its `config.yaml` says."""
    config = _read_config(results / "config.yaml")
    tasks = tasks_of(config["tasks"])
    seeds, shared = config["seeds"], config["pretraining_seed"]
    pretraining_seeds = seeds if shared == "each" else [shared]
    trained = [name for name, model in config["models"].items() if model["source"] == "pretrain"]
    yield from task_numbers(
        results, models=list(config["models"]), tasks=tasks, seeds=seeds, control=config.get("control")
    )
    if trained:
        yield from pretraining_numbers(results, models=trained, seeds=pretraining_seeds)
    if config.get("embedding_tasks"):
        of_model = {name: pretraining_seeds if name in trained else pretraining_seeds[:1] for name in config["models"]}
        yield from embedding_numbers(results, config, seeds=of_model)
    yield from cross_path_numbers(results)
    if config.get("ablation"):
        yield from ablation_numbers(results, config, tasks=tasks, pretraining_seeds=pretraining_seeds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one results folder; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cross_thought.tables.verify", description=__doc__)
    parser.add_argument("results", nargs="?", default="results", type=Path, help="the folder (default: results)")
    for needed in (REGISTRY_FILE, REFERENCES):
        repository_file(needed)
    found = list(numbers(parser.parse_args(arguments).results))
    wrong = [number for number in found if not number.agrees]
    for number in wrong:
        print(number, file=sys.stderr)
    if wrong:
        remedy = "a file was changed after it was made: restore it, or delete it and run `snakemake` again"
        print(f"error: {len(wrong)} of {len(found)} numbers differ: {remedy}", file=sys.stderr)
        return 1
    print(f"{len(found)} numbers recomputed from the predictions; all agree")
    return 0


def _json_numbers(place: str, written: object, computed: object) -> Iterator[Number]:
    """Compare two JSON values leaf by leaf; numbers to nine digits, which no change of platform reaches."""
    if isinstance(written, dict) and isinstance(computed, dict):
        for key in dict.fromkeys([*computed, *written]):
            yield from _json_numbers(f"{place}: {key}", written.get(key), computed.get(key))
    else:
        texts = [f"{value:.9g}" if isinstance(value, float) else json.dumps(value) for value in (written, computed)]
        yield Number(place, *texts)


def _csv_numbers(path: Path, rows: Sequence[object], keys: Sequence[str]) -> Iterator[Number]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            written = {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}
    except (FileNotFoundError, KeyError):
        raise UserError(f"{path} is missing or has other columns: run `snakemake tables`") from None
    computed = {tuple(csv_cell(getattr(row, key)) for key in keys): row for row in rows}
    for key in dict.fromkeys([*computed, *written]):
        row, cells = computed.get(key), written.get(key, {})
        for name in cells or keys:
            value = csv_cell(getattr(row, name, None)) if row is not None else ""
            yield Number(f"{path}: {', '.join(key)}: {name}", cells.get(name, ""), value)


def _text_lines(path: Path, computed: str) -> Iterator[Number]:
    """Compare a laid-out table line by line, so that it says what the CSV file says."""
    if not path.is_file():
        raise UserError(f"{path} is missing: run `snakemake tables`")
    written, expected = path.read_text(encoding="utf-8").splitlines(), computed.splitlines()
    for number in range(max(len(written), len(expected))):
        pair = [lines[number] if number < len(lines) else "" for lines in (written, expected)]
        yield Number(f"{path}: line {number + 1}", *pair)


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake {path}`") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): delete it and run `snakemake {path}`") from None


def _read_config(path: Path) -> dict:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake tables` first, or name the results folder") from None


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
