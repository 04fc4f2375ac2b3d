"""The table of sweeps: what each setting scores on the development set, and which one each model takes."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.data.sweeps import shown_setting
from cross_thought.evaluation.choice import read_choices
from cross_thought.evaluation.result_files import Read
from cross_thought.tables.layout import NOT_AVAILABLE, Page, as_table, metric_name, numbers, percent, wide

ROW_KEYS = ["model", "task", "setting"]
_COLUMNS = [*ROW_KEYS, "split", "metric", "median", "n", "seeds", "values", "best"]


def tabulate(results: RunResults, read: Read = read_choices) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out; `read` reads the `choice.json` files."""
    rows = sweep_rows(read(results.choices()))
    return rows, sweeps_page(rows)


def sweep_rows(choices: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Gather `choice.json` documents: a row a setting, in percent; `best` marks the one that the model takes."""
    rows = [
        {
            **{key: choice[key] for key in ("model", "task", "split", "metric")},
            "setting": name,
            "median": percent(found["median"]),
            "n": len(found["values"]),
            "seeds": tuple(map(int, found["values"])),
            "values": tuple(map(percent, found["values"].values())),
            "best": name == choice["chosen"],
        }
        for choice in choices
        for name, found in choice["settings"].items()
    ]
    return as_table(pd.DataFrame(rows), _COLUMNS)


def sweeps_page(rows: pd.DataFrame) -> Page:
    """Lay the rows out: a section a task, a line a setting, a column a model."""
    named = rows.assign(setting=rows["setting"].map(shown_setting))
    sections = []
    for task, part in named.groupby("task", sort=False):
        heading = f"{task} {metric_name(next(part.itertuples()))}".rstrip()
        sections.append(wide(part, _cell, index=ROW_KEYS[1:], column=lambda row: row.model, heading=heading))
    notes = [
        "Percent: the task's main metric on the development set, median over seeds (number of seeds). **Bold**: the "
        "setting that the model takes, the best one, of equals the first; all other tables are of its runs.",
        "A seed without a value, which is not defined on its labels and predictions, counts as lower than any.",
        "The best of several is best by luck, too: on the development set it looks better than it is.",
    ]
    return Page("Sweeps", sections, notes)


def _cell(row: Any) -> str:
    text = numbers("{:.1f}", row.median)
    text = text if text == NOT_AVAILABLE else f"{text} ({row.n})"
    return f"**{text}**" if row.best else text
