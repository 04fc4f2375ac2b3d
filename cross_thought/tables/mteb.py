"""The table of the scores that mteb gave: a row a model and pooling, a column a task."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.aggregate import AVERAGE, over_seeds
from cross_thought.evaluation.result_files import Read, read_documents
from cross_thought.tables.layout import Page, as_table, mark_best, mean_sd_n, percent, that_hold, wide

ROW_KEYS = ["model", "pooling", "task", "metric"]
COLUMNS = [*ROW_KEYS, "kind", "mean", "sd", "n", "seeds", "values", "mteb", "best"]


def tabulate(results: RunResults, _: Read | None = None) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out."""
    rows = read_mteb_rows(results.mteb_scores())
    return rows, mteb_page(rows)


def read_mteb_rows(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read `results/mteb/<model>/<pooling>/seed-<s>/scores.json` files.

    Returns:
        The columns of `mteb.csv`, in the order of the files: a task's main metric in percent, over seeds; `kind` is the
        task's type, `mteb` the library's version. With several tasks, `average` is the mean over them, seed by seed.
    """
    documents = read_documents(paths, "file of scores", keys=("model", "seed", "pooling", "mteb", "tasks"))
    tidy = pd.DataFrame(
        [
            {key: document[key] for key in ("model", "seed", "pooling", "mteb")}
            | {"task": name, "kind": task["type"], "metric": task["metric"], "value": percent(task["score"])}
            for document in documents
            for name, task in document["tasks"].items()
        ]
    )
    if tidy["task"].nunique() > 1:
        of_run = tidy.groupby(["model", "pooling", "seed", "mteb"], sort=False)["value"].mean(skipna=False)
        tidy = pd.concat([tidy, of_run.reset_index().assign(task=AVERAGE, kind="", metric="mean")])
    rows = over_seeds(tidy, [*ROW_KEYS, "kind", "mteb"])
    rows["best"] = mark_best(rows, ["task"])
    return as_table(rows, COLUMNS)


def mteb_page(rows: pd.DataFrame) -> Page:
    """Lay the rows out."""
    names = ["model", "pooling"] if rows["pooling"].nunique() > 1 else ["model"]
    section = wide(
        rows.assign(one=""),
        mean_sd_n,
        index=["one", *names],
        column=lambda row: f"{row.task} {row.metric}" if row.kind else row.task,
        is_broken=True,
    )
    kinds = rows[rows["kind"] != ""].drop_duplicates("task").groupby("kind", sort=False)["task"].agg(", ".join)
    versions = ", ".join(sorted(rows["mteb"].unique()))
    of_kinds = "; ".join(f"{kind}: {tasks}" for kind, tasks in kinds.items())
    notes = {
        f"Embeddings scored by mteb {versions}, each task by its main metric, in percent: mean ± sample "
        "standard deviation over seeds (number of seeds).": True,
        f"Tasks by type: {of_kinds}.": True,
        f"`{AVERAGE}`: the mean over the tasks, each counted once.": (rows["task"] == AVERAGE).any(),
        "**Bold**: highest mean.": True,
    }
    return Page("MTEB", [section], that_hold(notes))
