"""Recompute every number of the tables from the predictions and hold it against what the files say.

`python -m cross_thought.tables.verify [RESULTS]` names each number that differs and exits 1, or says how many
agree. The bootstrap's numbers are among them: its generator is seeded. RESULTS may be an archive, made by `snakemake
archive`; then nothing but what is in it is looked at, the checksum of each of its files too.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import sklearn.metrics  # noqa: F401  (late elsewhere; here its lack is to be said before anything is computed)
import yaml

from cross_thought.data.archives import unpack_zip
from cross_thought.data.pairs import shown_name
from cross_thought.data.run_results import PUBLISHED, RunResults
from cross_thought.data.tasks import REGISTRY_FILE
from cross_thought.environment import REPOSITORY, repository_file
from cross_thought.errors import UserError, exit_on_user_error
from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.evaluation.choice import choice_document, read_choices, value_of_run
from cross_thought.evaluation.embeddings import embeddings_document, read_pairs
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.evaluation.result_files import read_json
from cross_thought.evaluation.retrieval import COLLECTION, retrieval_document
from cross_thought.files import file_hash
from cross_thought.tables.layout import csv_cells, latex, markdown
from cross_thought.tables.of_run import TABLES

REFERENCES = [Path("resources", f"{stem}.tsv") for stem in PUBLISHED.values()]
# of an archive: what says which files it has, and what it may take when it is unpacked
CRATE = Path("ro-crate-metadata.json")
MAX_UNPACKED_BYTES = 10_000_000_000
CHECKSUM = "sha256"  # first word of the places where these are compared


Documents = dict[str, dict[str, Any]]  # of evaluations, by their paths


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


def numbers(results: Path, *, workflow: Path = REPOSITORY) -> Iterator[Number]:
    """Recompute what the files of a `results` folder say of single evaluations, then all tables of these.

    Its `config.yaml` says what there is. `workflow` is the folder that has `resources/`, with the published figures.
    """
    run = _run_of(results, workflow=workflow)
    documents: Documents = {}
    yield from evaluation_numbers(run, documents)
    for table in run.made_of:
        yield from table_numbers(run, table, documents)


def _run_of(results: Path, *, workflow: Path = REPOSITORY) -> RunResults:
    path = results / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake tables` first, or name the results folder") from None
    return RunResults(config, results, workflow=workflow)


def left_over(results: Path) -> list[str]:
    """Return the CSV files of tables that `config.yaml` does not make: another config's, which nothing verifies."""
    of_run = [f"{table}.csv" for table in _run_of(results).made_of]
    return [str(path) for path in sorted(Path(results, "tables").glob("*.csv")) if path.name not in of_run]


def evaluation_numbers(run: RunResults, documents: Documents) -> Iterator[Number]:
    """Recompute the JSON document of each evaluation, and gather what comes out in `documents`."""
    for path, written, computed in chain.from_iterable(recompute(run) for recompute in _RECOMPUTED):
        documents[path] = computed
        yield from _compared(path, written, computed)
    for taken, chosen in _chosen_runs(run, documents):
        yield from _compared(f"{taken}: sha256", file_hash(Path(taken)), file_hash(Path(chosen)))


# The path of each JSON document of an evaluation, what it says, and what comes out now. What neither predictions nor
# scores tell, such as how many sentences were cut, is taken over.
Recomputed = Iterator[tuple[str, dict[str, Any], dict[str, Any]]]


def _of_tasks(run: RunResults) -> Recomputed:
    runs = product(run.models, run.tasks, run.seeds)
    for (model, name, seed), path in zip(runs, run.evaluations("metrics.json"), strict=True):
        (written,) = read_metrics([path])
        facts = {key: written.get(key) for key in ("num_train_examples", "counts")}
        predictions = read_predictions(Path(path).with_name("predictions.tsv"))
        task = run.tasks[name]
        yield path, written, metrics_document(model=model, task=task, seed=seed, predictions=predictions, **facts)


def _of_choices(run: RunResults) -> Recomputed:
    for (model, name), path in zip(product(run.models, run.sweeps), run.choices(), strict=True):
        (written,) = read_choices([path])
        task, settings = run.tasks[name], run.sweeps[name]
        values = {
            (setting, seed): value_of_run(task, read_predictions(run.of_setting(model, name, setting, seed)))
            for setting, seed in product(settings, run.seeds)
        }
        yield path, written, choice_document(model=model, task=task, settings=settings, values=values)


def _of_embeddings(run: RunResults) -> Recomputed:
    paths = run.embeddings("metrics.json")
    for (model, name, pooling, seed), path in zip(run.embedding_evaluations(), paths, strict=True):
        (written,) = read_metrics([path])
        known: dict[str, Any] = {"model": shown_name(model), "pooling": pooling, "seed": seed}
        known |= {"task": run.embedding_tasks[name], "counts": written.get("counts")}
        yield path, written, embeddings_document(pairs=read_pairs(Path(path).with_name("pairs.tsv")), **known)


def _of_retrieval(run: RunResults) -> Recomputed:
    paths = run.retrieval("metrics.json")
    for (model, name, pooling, seed), path in zip(run.retrieval_evaluations(), paths, strict=True):
        (written,) = read_metrics([path])
        known: dict[str, Any] = {"model": shown_name(model), "pooling": pooling, "seed": seed}
        known |= {"task": run.retrieval_tasks[name], "counts": written.get("counts", {}).get(COLLECTION)}
        known |= {"run": Path(path).with_name("run.trec"), "prepared": Path(run.folder, "collections", name)}
        yield path, written, retrieval_document(**known)


_RECOMPUTED = (_of_tasks, _of_choices, _of_embeddings, _of_retrieval)


def _chosen_runs(run: RunResults, documents: Documents) -> Iterator[tuple[str, str]]:
    """Yield the predictions of each task with a sweep, and those of the chosen setting, of which they are a copy."""
    for (model, name), choice in zip(product(run.models, run.sweeps), run.choices(), strict=True):
        for seed in run.seeds:
            taken = f"{run.folder}/evaluate/{model}/{name}/seed-{seed}/predictions.tsv"
            yield taken, run.of_setting(model, name, documents[choice]["chosen"], seed)


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
        for references in REFERENCES:
            repository_file(REPOSITORY / references)
        return list(numbers(results))
    with _unpacked(results):
        return [*checksums(Path()), *numbers(Path("results"), workflow=Path())]


@contextmanager
def _unpacked(archive: Path) -> Iterator[None]:
    """Work in a temporary folder that has what an archive has, so that places are those in the archive."""
    with tempfile.TemporaryDirectory(prefix="cross-thought-") as folder:
        needed = (str(CRATE), "results/config.yaml", *map(str, REFERENCES))
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
    others = [] if options.results.is_file() else left_over(options.results)
    if others:
        print(f"left by another config, not looked at: {', '.join(others)}", file=sys.stderr)
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


def table_numbers(run: RunResults, name: str, documents: Documents) -> Iterator[Number]:
    """Hold the three files of a table against what comes of the documents now."""
    rows, page = TABLES[name].tabulate(run, lambda paths: [documents[str(path)] for path in paths])
    keys = TABLES[name].ROW_KEYS
    path = Path(run.folder, "tables", f"{name}.csv")
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
