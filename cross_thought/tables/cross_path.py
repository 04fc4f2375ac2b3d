"""The table of the cross path: whether a masked word is told that only other segments of its document can tell."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.aggregate import over_seeds
from cross_thought.evaluation.result_files import Read, read_documents
from cross_thought.tables.layout import Page, Section, mean_sd_n
from cross_thought.tables.masked_words import CONDITIONS

ROW_KEYS = ["model", "condition"]


def tabulate(results: RunResults, _: Read | None = None) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out."""
    rows = read_cross_path_rows(results.cross_path())
    return rows, cross_path_page(rows, untold=[name for name in results.trained_models if name not in {*rows["model"]}])


def read_cross_path_rows(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read `results/cross_path/<model>/seed-<s>.json` files and summarise them over seeds.

    Returns:
        One row a model and condition: `on`, `bypassed` (cross layer 0 left out) or `shuffled` (fed with other
        documents' segments); held-out accuracy in percent over seeds, the rate of guessing, and the words in all.
    """
    of_run = ["model", "seed", "num_words", "guess_rate"]
    reports = read_documents(paths, "report on the cross path", keys=[*of_run, "accuracy"])
    models = [report["model"] for report in reports]
    reports.sort(key=lambda report: (models.index(report["model"]), report["seed"]))
    tidy = pd.DataFrame(
        [
            report | {"guess_rate": 100 * report["guess_rate"], "condition": condition, "value": 100 * accuracy}
            for report in reports
            for condition, accuracy in report["accuracy"].items()
        ],
        columns=[*of_run, "condition", "value"],
    )
    rest = tidy.groupby(ROW_KEYS, sort=False).agg({"guess_rate": "mean", "num_words": "sum"})
    return over_seeds(tidy, ROW_KEYS).join(rest, on=ROW_KEYS)


def cross_path_page(rows: pd.DataFrame, *, untold: Sequence[str] = ()) -> Page:
    """Lay the cross-path rows out; `untold` are models that it cannot be told of."""
    cells = pd.DataFrame(
        {
            "model": rows["model"],
            "condition": rows["condition"].replace(CONDITIONS),
            "accuracy": list(map(mean_sd_n, rows.itertuples())),
            "guessing": rows["guess_rate"].map("{:.1f}".format),
        }
    )
    notes = [
        "Held-out accuracy, in percent, on masked words that only the other segments of a document can tell: mean ± "
        "sample standard deviation over seeds (number of seeds).",
        "If cross layer 0 carries information, `on` is well above guessing and the others are near it.",
    ]
    if untold:
        notes.append(
            f"Not of {', '.join(untold)}: a segment of theirs is longer than a sentence, and tells the word itself."
        )
    return Page("The cross path", [Section(cells)], notes)
