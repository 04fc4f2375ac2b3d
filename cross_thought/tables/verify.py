"""Recompute every number of the tables from the predictions and hold it against what the files say.

`python -m cross_thought.tables.verify [RESULTS]` names each number that differs and exits 1, or says how many
agree. The bootstrap's numbers are among them: its generator is seeded. RESULTS may be an archive, made by `snakemake
archive`; then nothing but what is in it is looked at, the checksum of each of its files too.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import sklearn.metrics  # noqa: F401  (late elsewhere; here its lack is to be said before anything is computed)
import yaml

from cross_thought.data.archives import unpack_zip
from cross_thought.data.definitions import BM25, Task
from cross_thought.data.pairs import place_of, shown_name, tuned_place
from cross_thought.data.retrieval_tasks import retrieval_tasks_of
from cross_thought.data.starts import starts_of
from cross_thought.data.sweeps import Setting, grids_of
from cross_thought.data.tasks import REGISTRY_FILE, embedding_tasks_of, poolings_of, tasks_of
from cross_thought.environment import REPOSITORY, repository_file
from cross_thought.errors import UserError, exit_on_user_error
from cross_thought.evaluation.aggregate import KEYS, read_metrics
from cross_thought.evaluation.choice import choice_document, read_choices, value_of_run
from cross_thought.evaluation.embeddings import embeddings_document, read_pairs
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.evaluation.result_files import read_json
from cross_thought.evaluation.retrieval import COLLECTION, retrieval_document
from cross_thought.files import file_hash
from cross_thought.tables import ablations, cross_path, embeddings, masked_words, mteb, pretraining, retrieval, sweeps
from cross_thought.tables.layout import Page, csv_cells, latex, markdown, read_table
from cross_thought.tables.tasks import data_counts, task_page, task_rows

# published figures
REFERENCES = Path("resources", "reference_results.tsv")
EMBEDDING_REFERENCES = Path("resources", "reference_embeddings.tsv")

# of an archive: what says which files it has, and what it may take when it is unpacked
CRATE = Path("ro-crate-metadata.json")
MAX_UNPACKED_BYTES = 10_000_000_000
CHECKSUM = "sha256"  # first word of the places where these are compared


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
    results: Path,
    *,
    models: Sequence[str],
    tasks: Mapping[str, Task],
    seeds: Sequence[int],
    control: str | None,
    num_settings: Mapping[str, int] | None = None,
    references: Path = REPOSITORY / REFERENCES,
) -> Iterator[Number]:
    """Recompute `metrics.json` and the task tables from each `predictions.tsv`; `num_settings` is as of `task_page`."""
    documents, predictions = [], {}
    for model, name, seed in product(models, tasks, seeds):
        folder = results / "evaluate" / model / name / f"seed-{seed}"
        predictions[model, name, seed] = splits = read_predictions(folder / "predictions.tsv")
        (written,) = read_metrics([folder / "metrics.json"])
        facts = {key: written.get(key) for key in ("num_train_examples", "counts")}  # which no prediction tells
        documents.append(metrics_document(model=model, task=tasks[name], seed=seed, predictions=splits, **facts))
        yield from _compared(str(folder / "metrics.json"), written, documents[-1])
    rows = task_rows(documents, predictions, models=models, tasks=tasks, control=control, references_path=references)
    page = task_page(rows, tasks=tasks, counts=data_counts(documents), num_settings=num_settings)
    yield from table_numbers(results, "tasks", rows, page, keys=["kind", *KEYS])


def sweep_numbers(
    results: Path,
    grids: Mapping[str, Mapping[str, Setting]],
    *,
    models: Sequence[str],
    tasks: Mapping[str, Task],
    seeds: Sequence[int],
) -> Iterator[Number]:
    """Choose each model's setting again from the predictions of all; the chosen ones must be the task's own."""
    choices = []
    for model, (name, settings) in product(models, grids.items()):
        evaluated = results / "evaluate" / model / name
        paths = {(s, seed): evaluated / s / f"seed-{seed}/predictions.tsv" for s, seed in product(settings, seeds)}
        values = {run: value_of_run(tasks[name], read_predictions(path)) for run, path in paths.items()}
        choice = results / "finetune" / model / name / "choice.json"
        (written,) = read_choices([choice])
        choices.append(choice_document(model=model, task=tasks[name], settings=settings, values=values))
        yield from _compared(str(choice), written, choices[-1])
        for seed in seeds:
            taken, chosen = evaluated / f"seed-{seed}" / "predictions.tsv", paths[choices[-1]["chosen"], seed]
            yield from _compared(f"{taken}: sha256", file_hash(taken), file_hash(chosen))
    rows = sweeps.sweep_rows(choices)
    yield from table_numbers(results, "sweeps", rows, sweeps.sweeps_page(rows), keys=sweeps.KEYS)


def _evaluations(
    place: Path,
    config: Mapping,
    tasks: Mapping[str, Any],
    *,
    seeds: Mapping[str, Sequence[int]],
    others: Iterable[tuple[str, str]],
) -> Iterator[tuple[Path, dict[str, Any], Mapping]]:
    """Yield each evaluation's folder, definition and `metrics.json`; `others` need no training: method and task."""
    runs: list[tuple[str, str, int | None, str | None]] = [
        (model, name, seed, pooling)
        for model, those in seeds.items()
        for seed, name, pooling in product(those, tasks, poolings_of(config))
    ]
    for model, name, seed, pooling in [*runs, *((method, name, None, None) for method, name in others)]:
        folder = place / model / name / (f"{pooling}/seed-{seed}" if pooling else "")
        (written,) = read_metrics([folder / "metrics.json"])
        yield folder, {"model": shown_name(model), "task": tasks[name], "seed": seed, "pooling": pooling}, written


def embedding_numbers(
    results: Path, config: Mapping, *, seeds: Mapping[str, Sequence[int]], references: Path
) -> Iterator[Number]:
    """Recompute `metrics.json` and the tables of embeddings from each `pairs.tsv`; `seeds` are those of each model.

    A tuned model has the name that paths have for it; `references` has published figures.
    """
    tasks = embedding_tasks_of(config)
    others = [(method, name) for name, task in tasks.items() for method in task.lexical]
    documents = []
    for folder, known, written in _evaluations(results / "embeddings", config, tasks, seeds=seeds, others=others):
        pairs = read_pairs(folder / "pairs.tsv")
        documents.append(embeddings_document(**known, pairs=pairs, counts=written.get("counts")))
        yield from _compared(str(folder / "metrics.json"), written, documents[-1])
    ours, lexical = embeddings.ours_and_others(documents)
    models = list(map(shown_name, seeds))
    rows = embeddings.embedding_rows(ours, lexical, models=models, tasks=tasks, references_path=references)
    page = embeddings.embeddings_page(rows, tasks=tasks, documents=ours)
    yield from table_numbers(results, "embeddings", rows, page, keys=embeddings.ROW_KEYS)


def retrieval_numbers(results: Path, config: Mapping, *, seeds: Mapping[str, Sequence[int]]) -> Iterator[Number]:
    """Recompute `metrics.json` and the tables of retrieval from each `run.trec`; `seeds` are those of each model."""
    tasks = retrieval_tasks_of(config)
    others = [(BM25, name) for name in tasks]
    documents = []
    for folder, known, written in _evaluations(results / "retrieval", config, tasks, seeds=seeds, others=others):
        known |= {"run": folder / "run.trec", "counts": written.get("counts", {}).get(COLLECTION)}
        documents.append(retrieval_document(**known, prepared=results / "collections" / known["task"].name))
        yield from _compared(str(folder / "metrics.json"), written, documents[-1])
    ours, lexical = embeddings.ours_and_others(documents)
    rows = embeddings.embedding_rows(ours, lexical, models=list(map(shown_name, seeds)), tasks=tasks)
    page = retrieval.retrieval_page(rows, tasks=tasks, documents=ours)
    yield from table_numbers(results, "retrieval", rows, page, keys=embeddings.ROW_KEYS)


def pretraining_numbers(
    results: Path, *, models: Sequence[str], seeds: Sequence[int], **known: Any
) -> Iterator[Number]:
    """Recompute the pre-training tables from each `history.tsv`; `known` as of `pretraining_page`."""
    rows = pretraining.read_pretraining_rows(_trained(results, "pretrain", models, seeds, "history.tsv"))
    page = pretraining.pretraining_page(rows, **known)
    yield from table_numbers(results, "pretraining", rows, page, keys=["model", "seed"])


def masked_words_numbers(results: Path, *, models: Sequence[str], seeds: Sequence[int]) -> Iterator[Number]:
    """Recompute the tables of masked words from each `words.tsv`."""
    rows = masked_words.read_masked_words_rows(_trained(results, "masked_words", models, seeds, "words.tsv"))
    page = masked_words.masked_words_page(rows)
    yield from table_numbers(results, "masked_words", rows, page, keys=masked_words.KEYS)


def _trained(results: Path, stage: str, models: Iterable[str], seeds: Iterable[int], name: str) -> list[Path]:
    """Return a file of each pre-training."""
    return [results / stage / model / f"seed-{seed}" / name for model, seed in product(models, seeds)]


def mteb_numbers(results: Path) -> Iterator[Number]:
    """Recompute the table of mteb's scores from each `scores.json`; nothing if there is no such table."""
    path = results / "tables" / "mteb.csv"
    if path.exists():
        runs = read_table(path, by_seed=True)[["model", "pooling", "seed"]].drop_duplicates().itertuples(index=False)
        places = [f"{place_of(model)}/{pooling}/seed-{seed}" for model, pooling, seed in runs]
        rows = mteb.read_mteb_rows(results / "mteb" / place / "scores.json" for place in places)
        yield from table_numbers(results, "mteb", rows, mteb.mteb_page(rows), keys=mteb.ROW_KEYS)


def cross_path_numbers(results: Path) -> Iterator[Number]:
    """Recompute the cross-path tables from the reports that are there; nothing if there is no such table."""
    path = results / "tables" / "cross_path.csv"
    if path.exists():
        runs = read_table(path, by_seed=True)[["model", "seed"]].drop_duplicates().itertuples(index=False)
        rows = cross_path.read_cross_path_rows(results / f"cross_path/{model}/seed-{seed}.json" for model, seed in runs)
        page = cross_path.cross_path_page(rows)
        yield from table_numbers(results, "cross_path", rows, page, keys=["model", "condition"])


def ablation_numbers(
    results: Path, config: Mapping, *, tasks: Mapping[str, Task], pretraining_seeds: Sequence[int]
) -> Iterator[Number]:
    """Recompute the ablation tables from histories, masked words, metrics, and what cross-path reports there are."""
    factors = ablations.factors_of(config)
    models = dict.fromkeys(model for settings in factors.values() for model in settings)
    evaluations = product(models, tasks, config["seeds"])
    embedded = product(models, config["embedding_tasks"], poolings_of(config)[:1], pretraining_seeds)
    reports = [results / f"cross_path/{model}/seed-{seed}.json" for model, seed in product(models, pretraining_seeds)]
    rows = ablations.read_ablation_rows(
        factors,
        histories=_trained(results, "pretrain", models, pretraining_seeds, "history.tsv"),
        cross_path_reports=[path for path in reports if path.exists()],
        masked_words=_trained(results, "masked_words", models, pretraining_seeds, "words.tsv"),
        metrics=[results / "evaluate/{}/{}/seed-{}/metrics.json".format(*run) for run in evaluations],
        tasks=tasks,
        embeddings=[results / "embeddings/{}/{}/{}/seed-{}/metrics.json".format(*run) for run in embedded],
        embedding_tasks=embedding_tasks_of(config),
    )
    page = ablations.ablation_page(rows, demo=config["corpus"]["source"] == "demo")
    yield from table_numbers(results, "ablations", rows, page, keys=["factor", "model", "task", "metric"])


def numbers(results: Path, *, workflow: Path = REPOSITORY) -> Iterator[Number]:
    """Recompute all tables under a `results` folder, as its `config.yaml` says.

    `workflow` is the folder that has `resources/`, with the published figures.
    """
    path = results / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake tables` first, or name the results folder") from None
    tasks, models, shared = tasks_of(config["tasks"]), config["models"], config["pretraining_seed"]
    pretraining_seeds = config["seeds"] if shared == "each" else [shared]
    trained = [name for name, model in models.items() if model["source"] == "pretrain"]
    control, grids = config.get("control"), grids_of(tasks, config)
    runs: dict[str, Any] = {"models": list(models), "tasks": tasks, "seeds": config["seeds"]}
    sizes = {name: len(settings) for name, settings in grids.items()}
    published = workflow / REFERENCES
    yield from task_numbers(results, **runs, control=control, num_settings=sizes, references=published)
    if grids:
        yield from sweep_numbers(results, grids, **runs)
    if trained:
        known = {"cuts": {models[name].get("segment_by", "tokens") for name in trained}, "starts": starts_of(models)}
        yield from pretraining_numbers(results, models=trained, seeds=pretraining_seeds, **known)
        yield from masked_words_numbers(results, models=trained, seeds=pretraining_seeds)
    of_model = {name: pretraining_seeds if name in trained else pretraining_seeds[:1] for name in models}
    tuned_on = config.get("embedding_tuning", {}).get("pairs", {})
    of_model |= {tuned_place(model, pairs): config["seeds"] for pairs in tuned_on for model in models}
    if config.get("embedding_tasks"):
        yield from embedding_numbers(results, config, seeds=of_model, references=workflow / EMBEDDING_REFERENCES)
    yield from mteb_numbers(results)
    if config.get("retrieval_tasks"):
        yield from retrieval_numbers(results, config, seeds=of_model)
    yield from cross_path_numbers(results)
    if config.get("ablation"):
        yield from ablation_numbers(results, config, tasks=tasks, pretraining_seeds=pretraining_seeds)


def checksums(folder: Path) -> Iterator[Number]:
    """Hold the SHA-256 of each file that an unpacked archive has against what its metadata say."""
    try:
        entities = [entity for entity in read_json(folder / CRATE)["@graph"] if "File" in entity["@type"]]
        written = {unquote(entity["@id"]): entity["sha256"] for entity in entities}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{CRATE} is not as `snakemake archive` writes it ({error!r}): make the archive anew") from None
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    del files[str(CRATE)]
    yield from _compared(CHECKSUM, written, {name: file_hash(path) for name, path in files.items()})


def verify(results: Path) -> list[Number]:
    """Recompute the numbers of a results folder, or of an archive with its checksums.

    Raises:
        UserError: if a file is missing or spoilt, or the archive is none.
    """
    if not results.is_file():
        for references in (REFERENCES, EMBEDDING_REFERENCES):
            repository_file(REPOSITORY / references)
        return list(numbers(results))
    with _unpacked(results):
        return [*checksums(Path()), *numbers(Path("results"), workflow=Path())]


@contextmanager
def _unpacked(archive: Path) -> Iterator[None]:
    """Work in a temporary folder that has what an archive has, so that places are those in the archive."""
    with tempfile.TemporaryDirectory(prefix="cross-thought-") as folder:
        needed = (str(CRATE), "results/config.yaml", str(REFERENCES), str(EMBEDDING_REFERENCES))
        unpack_zip(archive, Path(folder), kind="archive of a run", required=needed, max_bytes=MAX_UNPACKED_BYTES)
        with chdir(folder):
            try:
                yield
            except UserError as error:
                raise UserError(f"{archive}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one results folder or archive; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cross_thought.tables.verify", description=__doc__)
    parser.add_argument(
        "results", nargs="?", default="results", type=Path, help="the folder, or an archive (default: results)"
    )
    options = parser.parse_args(arguments)
    repository_file(REGISTRY_FILE)
    found = verify(options.results)
    num_checksums = sum(number.place.startswith(CHECKSUM) for number in found)
    extent = f"{len(found) - num_checksums} numbers" + (f" and {num_checksums} checksums" if num_checksums else "")
    wrong = [number for number in found if not number.agrees]
    for number in wrong:
        print(number, file=sys.stderr)
    if wrong:
        remedy = (
            f"a file was changed after it was made, or is of another config than {options.results}/config.yaml: "
            "restore it, or delete it and run `snakemake` again"
        )
        if options.results.is_file():
            remedy = "a file was changed after the archive was made, or this is other code than the archive's own"
        print(f"error: {len(wrong)} of {extent} differ: {remedy}", file=sys.stderr)
        return 1
    print(f"{extent} recomputed; all agree")
    return 0


def table_numbers(results: Path, name: str, rows: pd.DataFrame, page: Page, *, keys: list[str]) -> Iterator[Number]:
    """Hold the three files of a table against what comes out now; `keys` name a row."""
    path = results / "tables" / f"{name}.csv"
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        frames = frame, csv_cells(rows)
        orders = [list(map(", ".join, cells[keys].itertuples(index=False))) for cells in frames]
        sides = [cells.drop_duplicates(keys).set_index(keys).to_dict("index") for cells in frames]
        yield from _compared(str(path), *({", ".join(key): cells for key, cells in side.items()} for side in sides))
        if orders[0] != orders[1] and set(orders[0]) == set(orders[1]):  # else what is missing has been named
            yield from _compared(
                f"{path}: rows", *({f"row {n}": key for n, key in enumerate(order, 1)} for order in orders)
            )
        for laid_out, now in ((path.with_suffix(".md"), markdown(page)), (path.with_suffix(".tex"), latex(page))):
            texts = laid_out.read_text(encoding="utf-8"), now
            lines = ({f"line {n}": line for n, line in enumerate(text.splitlines(), start=1)} for text in texts)
            yield from _compared(str(laid_out), *lines)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `snakemake tables`") from None
    except KeyError:
        raise UserError(f"{path} has other columns: run `snakemake tables`") from None


def _compared(place: str, written: object, computed: object) -> Iterator[Number]:
    """Compare two values leaf by leaf."""
    if isinstance(written, dict) and isinstance(computed, dict):
        for key in dict.fromkeys([*computed, *written]):
            yield from _compared(f"{place}: {key}", written.get(key), computed.get(key))
    else:
        yield Number(place, _text(written), _text(computed))


def _text(value: object) -> str:
    """Write a leaf; numbers to nine digits, which no change of platform reaches."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict):
        return "an entry"
    return f"{value:.9g}" if isinstance(value, float) else json.dumps(value)


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
