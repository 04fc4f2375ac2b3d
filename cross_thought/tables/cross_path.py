"""The table of the cross path: whether a masked word is told that only other segments of its document can tell."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from cross_thought.evaluation.aggregate import over_seeds
from cross_thought.tables.layout import Page, Section, mean_sd_n

_CONDITIONS = {
    "on": "cross layer 0 on",
    "bypassed": "cross layer 0 bypassed",
    "shuffled": "fed with other documents' segments",
}


def read_cross_path_rows(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read `results/cross_path/<model>/seed-<s>.json` files and summarise them over seeds.

    Returns:
        One row a model and condition: `on`, `bypassed` (cross layer 0 left out) or `shuffled` (fed with other
        documents' segments); held-out accuracy in percent over seeds, the rate of guessing, and the words in all.
    """
    reports = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    tidy = pd.DataFrame(
        [
            {**{key: report[key] for key in ("model", "seed", "num_words")}, "condition": condition}
            | {"value": 100 * accuracy, "guess_rate": 100 * report["guess_rate"]}
            for report in sorted(reports, key=lambda report: report["seed"])
            for condition, accuracy in report["accuracy"].items()
        ],
        columns=["model", "seed", "num_words", "condition", "value", "guess_rate"],
    )
    order = {model: place for place, model in enumerate(dict.fromkeys(report["model"] for report in reports))}
    tidy = tidy.sort_values("model", key=lambda models: models.map(order), kind="stable")
    keys = ["model", "condition"]
    rest = tidy.groupby(keys, sort=False).agg({"guess_rate": "mean", "num_words": "sum"})
    return over_seeds(tidy, keys).join(rest, on=keys)


def cross_path_page(rows: pd.DataFrame) -> Page:
    """Lay the cross-path rows out."""
    cells = pd.DataFrame(
        {
            "model": rows["model"],
            "condition": rows["condition"].replace(_CONDITIONS),
            "accuracy": list(map(mean_sd_n, rows.itertuples())),
            "guessing": rows["guess_rate"].map("{:.1f}".format),
        }
    )
    notes = [
        "Held-out accuracy, in percent, on masked words that only the other segments of a document can tell: mean ± "
        "sample standard deviation over seeds (number of seeds).",
        "If cross layer 0 carries information, `on` is well above guessing and the others are near it.",
    ]
    return Page("The cross path", [Section(cells)], notes)
