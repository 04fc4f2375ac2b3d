"""Recompute every number of the tables from the predictions and hold it against what the files say.

`python -m cross_thought.tables.verify [RESULTS]` names each number that differs and exits 1, or says how many
agree. The bootstrap's numbers are among them: its generator is seeded.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pandas as pd
import yaml

from cross_thought.data.definitions import EmbeddingTask, Task
from cross_thought.data.pairs import shown_name, tuned_place
from cross_thought.data.tasks import REGISTRY_FILE, embedding_tasks_of, poolings_of, tasks_of
from cross_thought.environment import REPOSITORY, repository_file
from cross_thought.errors import UserError, exit_on_user_error
from cross_thought.evaluation.aggregate import KEYS, read_metrics
from cross_thought.evaluation.embeddings import embeddings_document, read_pairs
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.tables.ablations import ablation_page, factors_of, read_ablation_rows
from cross_thought.tables.cross_path import cross_path_page, read_cross_path_rows
from cross_thought.tables.embeddings import ROW_KEYS, embedding_rows, embeddings_page
from cross_thought.tables.layout import Page, csv_cells, latex, markdown, read_table
from cross_thought.tables.masked_words import KEYS as MASKED_WORDS_KEYS
from cross_thought.tables.masked_words import masked_words_page, read_masked_words_rows
from cross_thought.tables.pretraining import pretraining_page, read_pretraining_rows
from cross_thought.tables.tasks import data_counts, task_page, task_rows

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
                (written,) = read_metrics([folder / "metrics.json"])
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
    rows = task_rows(documents, predictions, models=models, tasks=tasks, control=control, references_path=REFERENCES)
    page = task_page(rows, tasks=tasks, counts=data_counts(documents))
    yield from table_numbers(results, "tasks", rows, page, keys=["kind", *KEYS])


def embedding_numbers(results: Path, config: Mapping, *, seeds: Mapping[str, Sequence[int]]) -> Iterator[Number]:
    """Recompute `metrics.json` and the tables of embeddings from each `pairs.tsv`; `seeds` are those of each model.

    A tuned model has the name that paths have for it.
    """
    tasks = embedding_tasks_of(config)
    poolings = poolings_of(config)
    runs: list[tuple[str, EmbeddingTask, int | None, str | None]] = [
        (model, task, seed, pooling)
        for model, those in seeds.items()
        for seed in those
        for task in tasks.values()
        for pooling in poolings
    ]
    runs += [(method, task, None, None) for task in tasks.values() for method in task.lexical]
    documents = []
    for model, task, seed, pooling in runs:
        place = f"{pooling}/seed-{seed}" if pooling else ""
        folder = results / "embeddings" / model / task.name / place
        pairs = read_pairs(folder / "pairs.tsv")
        (written,) = read_metrics([folder / "metrics.json"])
        computed = embeddings_document(
            model=shown_name(model), task=task, seed=seed, pooling=pooling, pairs=pairs, counts=written.get("counts")
        )
        yield from _json_numbers(str(folder / "metrics.json"), written, computed)
        documents.append(computed)
    ours = [document for document in documents if document["pooling"]]
    lexical = [document for document in documents if not document["pooling"]]
    rows = embedding_rows(ours, lexical, models=list(map(shown_name, seeds)), tasks=tasks)
    page = embeddings_page(rows, tasks=tasks, documents=ours)
    yield from table_numbers(results, "embeddings", rows, page, keys=ROW_KEYS)


def pretraining_numbers(results: Path, *, models: Sequence[str], seeds: Sequence[int]) -> Iterator[Number]:
    """Recompute the pre-training tables from each `history.tsv`."""
    rows = read_pretraining_rows(
        results / "pretrain" / model / f"seed-{seed}" / "history.tsv" for model in models for seed in seeds
    )
    yield from table_numbers(results, "pretraining", rows, pretraining_page(rows), keys=("model", "seed"))


def masked_words_numbers(results: Path, *, models: Sequence[str], seeds: Sequence[int]) -> Iterator[Number]:
    """Recompute the tables of masked words from each `words.tsv`."""
    rows = read_masked_words_rows(_masked_words(results, models, seeds))
    yield from table_numbers(results, "masked_words", rows, masked_words_page(rows), keys=MASKED_WORDS_KEYS)


def _masked_words(results: Path, models: Iterable[str], seeds: Iterable[int]) -> list[Path]:
    return [results / "masked_words" / model / f"seed-{seed}" / "words.tsv" for model in models for seed in seeds]


def cross_path_numbers(results: Path) -> Iterator[Number]:
    """Recompute the cross-path tables from the reports that are there; nothing if there is no such table."""
    path = results / "tables" / "cross_path.csv"
    if not path.exists():
        return
    runs = read_table(path, by_seed=True)[["model", "seed"]].drop_duplicates()
    rows = read_cross_path_rows(
        results / "cross_path" / run.model / f"seed-{run.seed}.json" for run in runs.itertuples()
    )
    yield from table_numbers(results, "cross_path", rows, cross_path_page(rows), keys=("model", "condition"))


def ablation_numbers(
    results: Path, config: Mapping, *, tasks: Mapping[str, Task], pretraining_seeds: Sequence[int]
) -> Iterator[Number]:
    """Recompute the ablation tables from histories, masked words, metrics, and what cross-path reports there are."""
    factors = factors_of(config)
    models = dict.fromkeys(model for settings in factors.values() for model in settings)
    runs = [f"{model}/seed-{seed}" for model in models for seed in pretraining_seeds]
    reports = [results / "cross_path" / f"{run}.json" for run in runs]
    rows = read_ablation_rows(
        factors,
        histories=[results / "pretrain" / run / "history.tsv" for run in runs],
        cross_path_reports=[report for report in reports if report.exists()],
        masked_words=_masked_words(results, models, pretraining_seeds),
        metrics=[
            results / "evaluate" / model / task / f"seed-{seed}" / "metrics.json"
            for model in models
            for task in tasks
            for seed in config["seeds"]
        ],
        tasks=tasks,
        embeddings=[
            results / "embeddings" / model / task / poolings_of(config)[0] / f"seed-{seed}" / "metrics.json"
            for model in models
            for task in config["embedding_tasks"]
            for seed in pretraining_seeds
        ],
        embedding_tasks=embedding_tasks_of(config),
    )
    page = ablation_page(rows, demo=config["corpus"]["source"] == "demo")
    yield from table_numbers(results, "ablations", rows, page, keys=("factor", "model", "task", "metric"))


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
        yield from masked_words_numbers(results, models=trained, seeds=pretraining_seeds)
    if config.get("embedding_tasks"):
        of_model = {name: pretraining_seeds if name in trained else pretraining_seeds[:1] for name in config["models"]}
        tuned_on = config.get("embedding_tuning", {}).get("pairs", {})
        of_model |= {tuned_place(model, pairs): seeds for pairs in tuned_on for model in config["models"]}
        yield from embedding_numbers(results, config, seeds=of_model)
    yield from cross_path_numbers(results)
    if config.get("ablation"):
        yield from ablation_numbers(results, config, tasks=tasks, pretraining_seeds=pretraining_seeds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one results folder; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cross_thought.tables.verify", description=__doc__)
    parser.add_argument("results", nargs="?", default="results", type=Path, help="the folder (default: results)")
    options = parser.parse_args(arguments)
    for needed in (REGISTRY_FILE, REFERENCES):
        repository_file(needed)
    found = list(numbers(options.results))
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


def table_numbers(results: Path, name: str, rows: pd.DataFrame, page: Page, *, keys: Sequence[str]) -> Iterator[Number]:
    """Hold the three files of a table against what comes out now; `keys` name a row."""
    path = results / "tables" / f"{name}.csv"
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        written = frame.set_index(list(keys)).to_dict("index")
    except (FileNotFoundError, KeyError):
        raise UserError(f"{path} is missing or has other columns: run `snakemake tables`") from None
    computed = csv_cells(rows).set_index(list(keys)).to_dict("index")
    for key in dict.fromkeys([*computed, *written]):
        cells, now = written.get(key, {}), computed.get(key, {})
        place = f"{path}: {', '.join(key)}"
        if not (cells and now):
            yield Number(place, *("a row" if found else "" for found in (cells, now)))
        for name in {**cells, **now} if cells and now else ():
            yield Number(f"{place}: {name}", cells.get(name, ""), now.get(name, ""))
    yield from _text_lines(path.with_suffix(".md"), markdown(page))
    yield from _text_lines(path.with_suffix(".tex"), latex(page))


def _text_lines(path: Path, computed: str) -> Iterator[Number]:
    """Compare a laid-out table line by line, so that it says what the CSV file says."""
    if not path.is_file():
        raise UserError(f"{path} is missing: run `snakemake tables`")
    lines = zip_longest(path.read_text(encoding="utf-8").splitlines(), computed.splitlines(), fillvalue="")
    yield from (Number(f"{path}: line {number}", *pair) for number, pair in enumerate(lines, start=1))


def _read_config(path: Path) -> dict:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake tables` first, or name the results folder") from None


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
