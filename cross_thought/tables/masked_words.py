"""The table of masked words: what the other segments of a document tell of a masked word, on any text.

Two kinds of rows: what was measured in each condition, and cross layer 0 on less fed with other documents' segments.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.aggregate import over_seeds
from cross_thought.evaluation.masked_words import BYPASSED, MAX_DOCUMENTS, ON, SHUFFLED
from cross_thought.evaluation.result_files import Read, result_file
from cross_thought.tables.layout import NOT_AVAILABLE, Page, Section, mean_sd_n, numbers, p_value, that_hold, wide

CONDITIONS = {
    ON: "cross layer 0 on",
    SHUFFLED: "fed with other documents' segments",
    BYPASSED: "cross layer 0 bypassed",
}
DIFFERENCE = f"{ON} - {SHUFFLED}"
WORDS = {"all": "all masked words", "elsewhere": "words that the document says elsewhere"}
_SIGNED = {"accuracy": "{:+.1f}", "bits": "{:+.3f}"}  # by metric
ROW_KEYS = ["model", "words", "condition", "metric"]
COLUMNS = [*ROW_KEYS, "mean", "sd", "n", "seeds", "values", "ci_low", "ci_high", "p_documents", "p_seeds"]
COLUMNS += ["split", "num_words", "num_documents"]


def tabulate(results: RunResults, _: Read | None = None) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out."""
    rows = read_masked_words_rows(results.masked_words())
    return rows, masked_words_page(rows)


def read_masked_words_rows(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read `results/masked_words/<model>/seed-<s>/words.tsv` files and summarise them over seeds.

    Returns:
        One row a number: `words` is `all` or `elsewhere` (those that another segment of the document has too),
        `condition` is `on`, `shuffled`, `bypassed` or `on - shuffled`, `metric` is `accuracy` (percent) or `bits`. A
        difference has its 95 % interval and p value over documents, and over seeds where there are two or more.

    Raises:
        UserError: if a file is missing or has other columns.
    """
    runs: dict[str, dict[int, pd.DataFrame]] = {}
    for path in map(Path, paths):
        runs.setdefault(path.parts[-3], {})[int(path.parts[-2].removeprefix("seed-"))] = _read_words(path)
    rows = [_rows_of(model, words, dict(sorted(seeds.items()))) for model, seeds in runs.items() for words in WORDS]
    return pd.concat(rows, ignore_index=True).astype({"num_words": "Int64", "num_documents": "Int64"})


def _read_words(path: Path) -> pd.DataFrame:
    """Read the words of one run, a row a word: split, document, elsewhere; a column for each (condition, metric)."""
    with result_file(path, "file of masked words"):
        found = pd.read_csv(path, sep="\t", dtype={"split": str})
        words = found[["split", "document", "elsewhere"]].copy()
        for condition in [name for name in CONDITIONS if f"right_{name}" in found]:
            words[condition, "accuracy"] = 100.0 * found[f"right_{condition}"]
            words[condition, "bits"] = found[f"loss_{condition}"] / np.log(2)
        if f"right_{ON}" in found:
            for metric in _SIGNED:
                words[DIFFERENCE, metric] = words[ON, metric] - words[SHUFFLED, metric]
        return words


def _rows_of(model: str, words: str, seeds: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """Return a model's rows for one of `WORDS`; every seed has the same words."""
    if words == "elsewhere":
        seeds = {seed: found[found["elsewhere"] == 1] for seed, found in seeds.items()}
    first = next(iter(seeds.values()))
    rows = []
    for condition, metric in (column for column in first if isinstance(column, tuple)):
        of_seeds = {seed: found[condition, metric] for seed, found in seeds.items()}
        values = [{"condition": condition, "metric": metric, "seed": s, "value": v.mean()} for s, v in of_seeds.items()]
        tests = _tests(of_seeds, first["document"]) if condition == DIFFERENCE else {}
        rows.append(over_seeds(pd.DataFrame(values), ["condition", "metric"]).assign(**tests))
    sizes = {"num_words": len(first), "num_documents": first["document"].nunique()}
    known = pd.concat(rows).assign(model=model, words=words, split=first["split"].min(), **sizes)
    return known.reindex(columns=COLUMNS)  # a model without cross layer 0 has no differences


def _tests(differences: dict[int, pd.Series], documents: pd.Series) -> dict[str, float]:
    """Test the words' differences of each seed over documents, and over seeds; nothing below two documents."""
    from scipy import stats  # late: figures and other tables take names from here

    of_document = pd.concat(differences, axis=1).mean(axis=1).groupby(documents).agg(["sum", "size"])
    if len(of_document) < 2:
        return {}
    # the mean over words is a ratio of two means over documents; linear around it, so that t tests the documents
    mean = of_document["sum"].sum() / of_document["size"].sum()
    linear = mean + (of_document["sum"] - mean * of_document["size"]) / of_document["size"].mean()
    test = stats.ttest_1samp(linear, 0)
    low, high = test.confidence_interval(0.95)
    means = [of_seed.mean() for of_seed in differences.values()]
    p_seeds = stats.ttest_1samp(means, 0).pvalue if len(means) > 1 else np.nan
    return {"ci_low": low, "ci_high": high, "p_documents": test.pvalue, "p_seeds": p_seeds}


def masked_words_page(rows: pd.DataFrame) -> Page:
    """Lay the rows out: the conditions of each model, then the differences."""
    measured, differences = rows[rows["condition"] != DIFFERENCE], rows[rows["condition"] == DIFFERENCE]
    section = wide(
        measured.assign(group=measured["model"]),
        lambda row: mean_sd_n(row, ".3f" if row.metric == "bits" else ".1f"),
        index=["group", "model", "condition"],
        column=lambda row: f"{row.metric}, {row.words}",
        missing=NOT_AVAILABLE,
        heading="Told, and at what loss",
    )
    section.cells["condition"] = section.cells["condition"].map(CONDITIONS)
    sections = [section]
    if len(differences):
        cells = pd.DataFrame(
            [
                {
                    "model": row.model,
                    "words": row.words,
                    "on": row.metric,
                    "difference": numbers(_SIGNED[row.metric], row.mean),
                    "95 % interval": numbers(" to ".join([_SIGNED[row.metric]] * 2), row.ci_low, row.ci_high),
                    "p (documents)": p_value(row.p_documents),
                    "p (seeds)": p_value(row.p_seeds),
                }
                for row in differences.itertuples()
            ]
        )
        heading = "Cross layer 0 on, less fed with other documents' segments"
        sections.append(Section(cells, heading, cells["model"]))
    return Page("Masked words", sections, masked_words_notes(rows))


def masked_words_notes(rows: pd.DataFrame) -> list[str]:
    """Say what a reader must know of these rows, in one sentence or two each."""
    sizes = rows.groupby(["split", "num_documents", "num_words", "words"], sort=False, dropna=False)["model"].unique()
    texts = [
        f"{words}: {num_words:,} in {documents:,} documents of `{split}`"
        + ("" if len(models) == rows["model"].nunique() else f" ({', '.join(models)})")
        for (split, documents, num_words, words), models in sizes.items()
        if num_words
    ]
    return that_hold(
        {
            "In one segment of each held-out document the same share of words is masked as in training, none "
            "elsewhere. Accuracy: the likeliest symbol is right, in percent. Bits: loss of a masked symbol; lower is "
            "better. Mean ± sample standard deviation over seeds (number of seeds).": True,
            f"Masked words (BPE symbols), the same for every seed, in the first {MAX_DOCUMENTS:,} documents at most: "
            f"{'; '.join(texts) or 'none'}.": True,
            "`elsewhere`: words that another segment of the document has, too.": True,
            "Differences are paired: interval and p (documents) by a t test over documents, p (seeds) by one over the "
            "seeds' differences.": (rows["condition"] == DIFFERENCE).any(),
            f"`{NOT_AVAILABLE}`: the held-out text has no two documents of two segments with such words; hold out "
            "more.": rows["mean"].isna().any(),
        }
    )
