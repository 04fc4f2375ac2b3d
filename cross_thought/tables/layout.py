"""What all result tables share: a frame goes to CSV as it is, and laid out as a page to Markdown and LaTeX.

A table's module computes its frame, one row a number, and lays it out as a `Page` of text cells; this one writes them,
so all three files of a table show the same numbers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from cross_thought.errors import UserError
from cross_thought.files import atomic_file

NOT_AVAILABLE = "n/a"
REFERENCE = "reference"  # the kind of rows that have published figures
DAGGER = "†"  # shown by LaTeX alone

METRIC_NAMES = {
    "accuracy": "acc.",
    "f1": "F1",
    "macro_f1": "macro F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "matthews": "Matthews",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "spearman_mean": "Spearman, mean",
    "mrr": "MRR",
    "map": "MAP",
    "raw_accuracy": "raw acc.",
    "raw_mrr": "raw MRR",
    "raw_map": "raw MAP",
    "mean": "",
}

# Markdown tables are broken into several beyond this width, to stay readable in a terminal.
_TERMINAL_WIDTH = 132
_TEXT_COLUMNS = {"kind", "model", "pooling", "task", "split", "metric", "factor", "setting", "condition", "words"}
_TEXT_COLUMNS |= {"hardware", "control", "p_mcnemar", "verdict", "source", "note", "mteb"}
_WHOLE_COLUMNS = {"n", "seed", "updates", "tokens"}  # and all that begin with num_
_TUPLES: dict[str, type] = {"seeds": int, "values": float}


@dataclass(frozen=True)
class Section:
    """One table of a page."""

    cells: pd.DataFrame  # text in Markdown, the rows' names in the first column
    heading: str = ""  # "" where the page's title says it
    groups: Iterable[Any] = ()  # of each row: a rule goes where it changes
    is_broken: bool = False  # whether a wide one becomes several in Markdown that fit a terminal

    @property
    def rules(self) -> list[int]:
        """The rows that a rule goes before."""
        return [row for row, (before, group) in enumerate(pairwise(self.groups), start=1) if group != before]


@dataclass(frozen=True)
class Page:
    """A table laid out: a title, one section or more, and what a reader must know, one sentence or two each."""

    title: str
    sections: Sequence[Section]
    notes: Sequence[str]


def as_table(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return these columns, each of its kind: text, tuples, whether `best`, whole numbers (`Int64`), or floats.

    Where rows have nothing, text and tuples are empty and numbers are missing.
    """
    rows = rows.reindex(columns=list(columns))
    for name, column in rows.items():
        if name in _TUPLES:
            rows[name] = [cell if isinstance(cell, tuple) else () for cell in column]
        elif name in _TEXT_COLUMNS:
            rows[name] = ["" if pd.isna(cell) else cell for cell in column]
        elif name == "best":
            rows[name] = column.isin([True, "yes"])
        else:
            is_whole = name in _WHOLE_COLUMNS or str(name).startswith("num_")
            rows[name] = pd.to_numeric(column.replace("", None)).astype("Int64" if is_whole else float)
    return rows


def metric_name(row: Any) -> str:
    """Name a row's metric for people."""
    return METRIC_NAMES.get(row.metric, row.metric)


def that_hold(notes: Mapping[str, object]) -> list[str]:
    """Return the notes of a table whose condition holds."""
    return [note for note, holds in notes.items() if holds]


def percent(fraction: float | None) -> float:
    """Return a fraction in percent; NaN for none."""
    return float("nan") if fraction is None else 100 * fraction


# what is said of the data of a split, by the name that `metrics.json` has for the count
COUNTS = {
    "unanswered": "{count:,} of them have no right candidate, which raw metrics alone count",
    "candidates_cut": "{count:,} wrong candidates left out, beyond `num_candidates`",
    "candidates_added": "{count:,} candidates of other questions added (`fill_candidates`)",
    "questions_short": "{count:,} questions still have fewer than `num_candidates`",
    "labels_without": "{count} of the labels have no example{macro}",
    "in_train": "{count:,} of {number:,} {examples} stand in the train set, too",
    "empty": "{count:,} {examples} with an empty sentence",
    "unlabelled": "not scored, for there are no labels in column {column!r}",
    "quoted": "{count:,} cells seem to be in quote marks, which were kept as text",
}


def said_of_counts(
    found: Mapping[str, int], sentences: Mapping[str, str], known: Mapping[str, object]
) -> Iterator[str]:
    """Yield what is said of the counts that there are, in the order of `sentences`; `known` is what else these name."""
    for key, sentence in sentences.items():
        if found.get(key):
            yield sentence.format(count=found[key], **known)


def percent_text(fraction: float) -> str:
    """Write a fraction in percent, to two digits."""
    return f"{float(f'{100 * fraction:.2g}'):g} %"  # 100 by itself would be 1e+02


def mean_sd_n(row: Any, form: str = ".1f") -> str:
    """Write a row of `over_seeds` as `mean ± sd (n)`, without what there is none of, in bold if it is the `best`.

    `form` is the numbers' format; a published figure stands as it was published.
    """
    if pd.isna(row.mean):
        return NOT_AVAILABLE
    if getattr(row, "kind", "") == REFERENCE:
        return f"{row.mean:g}"
    spread = "" if pd.isna(row.sd) else f" ± {row.sd:{form}}"
    text = f"{row.mean:{form}}{spread}" + ("" if pd.isna(row.n) else f" ({row.n})")
    return f"**{text}**" if getattr(row, "best", False) else text


def numbers(form: str, *values: float) -> str:
    """Write numbers by a format string such as `{:+.1f}`; not available where the first is missing."""
    return NOT_AVAILABLE if pd.isna(values[0]) else form.format(*values)


def p_value(value: float) -> str:
    """Write a p value."""
    return "<0.001" if value < 0.001 else numbers("{:.3f}", value)


def mark_best(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Tell the rows of the highest mean of each group, in groups with two means or more."""
    means = rows.groupby(list(by), sort=False)["mean"]
    # rounded, for equal models are equally good whatever the order of their seeds
    return (rows["mean"].round(9) == means.transform("max").round(9)) & (means.transform("count") > 1)


def wide(
    rows: pd.DataFrame,
    cell: Callable[[Any], str],
    *,
    index: Sequence[str],
    column: Callable[[Any], str],
    missing: str = "",
    heading: str = "",
    is_broken: bool = False,
) -> Section:
    """Pivot rows to a section, in the order in which they come.

    Args:
        rows: one a cell, which `cell` writes, in the column that `column` names.
        index: the columns that name a row, but for the first: a rule goes where it changes, and it is not shown.
        missing: a cell that no row is for.
        heading, is_broken: of the section.
    """
    tuples = list(rows.itertuples())
    labelled = rows[list(index)].assign(_column=list(map(column, tuples)), _cell=list(map(cell, tuples)))
    keys, columns = labelled[list(index)].drop_duplicates(), labelled["_column"].unique()
    # not `unstack(sort=False)`: pandas 3.0.0 names rows of three keys by those of others
    cells = labelled.pivot(index=list(index), columns="_column", values="_cell")
    cells = cells.reindex(index=pd.MultiIndex.from_frame(keys), columns=columns).fillna(missing)
    groups = cells.index.get_level_values(0)
    return Section(cells.droplevel(0).reset_index().rename_axis(columns=None), heading, groups, is_broken)


def write_table(rows: pd.DataFrame, page: Page, *, files: Mapping[str, str]) -> None:
    """Write the three files of a table: `csv` has the rows, `markdown` and `latex` the page."""
    for form, text in (("csv", csv_text(rows)), ("markdown", markdown(page)), ("latex", latex(page))):
        write_text(files[form], text)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_file(Path(path)) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def csv_text(rows: pd.DataFrame) -> str:
    """Write a frame as CSV: floats with six significant digits, empty where there is no value."""
    return csv_cells(rows).to_csv(index=False, lineterminator="\n")


def csv_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what stands in the cells of the CSV file."""
    return rows.astype(object).map(_csv_cell)


def _csv_cell(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_csv_cell(item) or NOT_AVAILABLE for item in value)
    if pd.isna(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read_table(path: Path | str, *, by_seed: bool = False) -> pd.DataFrame:
    """Read a CSV table of `results/tables/` back into a frame; a UserError says that it is missing.

    Its columns are text as it stands, numbers as floats or `Int64`, `best` as booleans. `by_seed` returns one row a
    seed, with its `seed` and `value`, instead of the tuples `seeds` and `values`.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake tables`") from None
    for name in _TUPLES.keys() & set(frame):
        cells = frame[name].str.replace(NOT_AVAILABLE, "nan").str.split()
        frame[name] = [tuple(map(_TUPLES[name], cell)) for cell in cells]
    frame = as_table(frame, list(frame))
    if by_seed and "values" in frame:
        seeds = frame.explode(["seeds", "values"], ignore_index=True)
        return seeds.rename(columns={"seeds": "seed", "values": "value"}).astype({"seed": "Int64", "value": float})
    return frame


def markdown(page: Page) -> str:
    """Lay a page out as Markdown that reads in a terminal as well."""
    parts = [f"# {page.title}"]
    for section in page.sections:
        parts += [f"## {section.heading}"] if section.heading else []
        parts += [markdown_table(cells) for cells in _blocks(section)]
    parts += ["## How to read this"] if page.sections[0].heading else []
    parts.append("\n".join(f"- {note}" for note in page.notes))
    return "\n\n".join(parts) + "\n"


def markdown_table(cells: pd.DataFrame) -> str:
    """Lay out a frame of text cells as a Markdown table."""
    plain = cells.map(lambda cell: cell.replace(DAGGER, ""))
    return plain.to_markdown(index=False, tablefmt="github", disable_numparse=True)


def _blocks(section: Section) -> list[pd.DataFrame]:
    """Break a wide table into several that fit a terminal, repeating the first column."""
    cells = section.cells
    widths = [max(len(name) + 2, cells[name].str.len().max()) + 3 for name in cells]
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(widths)):
        width = sum(widths[place] for place in [*blocks[-1], column])
        if section.is_broken and len(blocks[-1]) > 1 and width > _TERMINAL_WIDTH:
            blocks.append([0])
        blocks[-1].append(column)
    return [cells.iloc[:, block] for block in blocks]


def latex(page: Page) -> str:
    """Lay a page out as LaTeX tabulars for booktabs, the notes as comments."""
    parts = []
    for section in page.sections:
        heading = f"% {section.heading.replace('`', '')}\n" if section.heading else ""
        parts.append(heading + latex_table(section.cells, rules=section.rules))
    parts.append("".join(f"% {note.replace('`', '').replace('**', '')}\n" for note in page.notes))
    return "% Needs \\usepackage{booktabs}.\n" + "\n\n".join(parts)


def latex_table(cells: pd.DataFrame, *, rules: Sequence[int] = ()) -> str:
    """Lay out a frame of text cells as a LaTeX tabular, with a rule before each of the rows `rules`."""
    styles = cells.map(lambda cell: "textbf: --rwrap;" if cell.startswith("**") else "")
    styler = cells.replace(r"\*\*|`", "", regex=True).style.hide(axis="index").apply(lambda _: styles, axis=None)
    styler = styler.format(escape="latex").format_index(escape="latex", axis=1)
    text = styler.to_latex(hrules=True, column_format="l" + "c" * (cells.shape[1] - 1)).rstrip()
    text = re.sub(r" ± (\S+) \((\d+)\)", r"\\,{\\scriptsize$\\pm$\\,\1\\,(\2)}", text)
    for character, command in {"±": "$\\pm$", DAGGER: "$^\\dagger$", "<": "$<$"}.items():
        text = text.replace(character, command)
    lines = text.split("\n")
    for place in sorted(rules, reverse=True):
        lines.insert(4 + place, "\\midrule")
    return "\n".join(lines)
