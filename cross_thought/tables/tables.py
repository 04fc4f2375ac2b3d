"""The result tables: rows of numbers first (CSV), then the same rows as Markdown and LaTeX.

Metrics are in percent (x 100). Each `*_rows` function computes a table's rows; the `*_markdown` and `*_latex`
functions only lay them out, so that all three files of a table show the same numbers.
"""

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cross_thought.data.tasks import Task
from cross_thought.errors import UserError
from cross_thought.evaluation.aggregate import (
    AVERAGE,
    Summary,
    all_or_none,
    average_over_tasks,
    averaged_tasks,
    is_development,
    read_metrics,
    summarise,
)
from cross_thought.evaluation.history import History, read_history
from cross_thought.evaluation.metrics import majority_metrics
from cross_thought.evaluation.predictions import SplitPredictions, read_predictions
from cross_thought.evaluation.significance import NUM_RESAMPLES, Comparison, compare
from cross_thought.files import atomic_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAJORITY = "majority"
NOT_AVAILABLE = "n/a"

# Markdown tables are broken into several beyond this width, to stay readable in a terminal.
_TERMINAL_WIDTH = 132

METRIC_NAMES = {
    "accuracy": "acc.",
    "f1": "F1",
    "matthews": "Matthews",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mrr": "MRR",
    "mean": "",
}


# ---------------------------------------------------------------------------------------------------- task results


@dataclass(frozen=True)
class ResultRow:
    """What one number of any table of results has, in percent; None where undefined or not applicable.

    Attributes:
        kind: `model` (ours), or what else the table sets beside our models.
        mean, sd, n: over the seeds; there is one value where nothing depends on a seed.
        values: the seeds' values, in the order of `seeds`.
    """

    kind: str
    model: str
    task: str
    split: str
    metric: str
    mean: float | None
    sd: float | None = None
    n: int | None = None
    seeds: tuple[int, ...] = ()
    values: tuple[float | None, ...] = ()
    num_examples: int | None = None

    @property
    def column(self) -> tuple[str, str, str]:
        """The table's column: (task, split, metric)."""
        return self.task, self.split, self.metric


@dataclass(frozen=True)
class TaskRow(ResultRow):
    """One number of the task table.

    Attributes:
        kind: `model` (ours), `majority` (always the most frequent label) or `reference` (published).
        best: whether it is the highest mean among our models, where there are several.
        control: the model that `difference` and what follows compare with; "" where there is no comparison.
        source, note: of a published figure.
    """

    num_train_examples: int | None = None
    best: bool = False
    control: str = ""
    difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_examples: float | None = None
    p_seeds: float | None = None
    p_mcnemar: str = ""
    verdict: str = ""
    source: str = ""
    note: str = ""


Predictions = Mapping[tuple[str, str, int], Mapping[str, SplitPredictions]]


def read_task_rows(
    metrics_paths: Iterable[Path | str],
    *,
    models: Sequence[str],
    tasks: Mapping[str, Task],
    control: str | None = None,
    references_path: Path | str | None = None,
) -> list[TaskRow]:
    """Read `metrics.json` files, and the `predictions.tsv` beside each, into the rows of the task table."""
    paths = list(map(Path, metrics_paths))
    documents = read_metrics(paths)
    predictions = {
        (document["model"], document["task"], document["seed"]): read_predictions(path.with_name("predictions.tsv"))
        for path, document in zip(paths, documents, strict=True)
    }
    rows = task_rows(summarise(documents, models=models, tasks=tasks), predictions, tasks=tasks, control=control)
    return rows + (reference_rows(references_path, rows) if references_path else [])


def task_rows(
    summaries: Sequence[Summary],
    predictions: Predictions,
    *,
    tasks: Mapping[str, Task],
    control: str | None = None,
) -> list[TaskRow]:
    """Compute the rows of our models, their averages, and the majority rates."""
    averages = average_over_tasks(summaries, tasks)
    rows = []
    for summary in [*summaries, *averages]:
        row = _row_of(summary)
        if control is not None and summary.model != control and summary.task != AVERAGE:
            comparison = _compare_with_control(summary, predictions, tasks[summary.task], control)
            if comparison is not None:
                row = replace(row, control=control, **_comparison_columns(comparison))
        rows.append(row)
    return _mark_best(rows) + _majority_rows(summaries, predictions, tasks)


def _row_of(summary: Summary) -> TaskRow:
    return TaskRow(
        kind="model",
        model=summary.model,
        task=summary.task,
        split=summary.split,
        metric=summary.metric,
        mean=percent(summary.mean),
        sd=percent(summary.sd),
        n=summary.n,
        seeds=summary.seeds,
        values=tuple(map(percent, summary.values)),
        num_examples=summary.num_examples or None,
        num_train_examples=summary.num_train_examples,
    )


def _compare_with_control(summary: Summary, predictions: Predictions, task: Task, control: str) -> Comparison | None:
    """Compare on the shared examples; None if the control has no result there."""
    ours, theirs = (
        {
            seed: splits[summary.split]
            for (model, name, seed), splits in sorted(predictions.items())
            if model == wanted and name == summary.task and summary.split in splits
        }
        for wanted in (summary.model, control)
    )
    if not theirs:
        return None
    labels = next(iter(ours.values())).labels
    for answers in [*ours.values(), *theirs.values()]:
        if answers.labels != labels:
            raise UserError(
                f"{summary.model} and {control} were evaluated on other {summary.task} examples ({summary.split}): "
                "evaluate both again on the same data"
            )
    return compare(
        task,
        summary.metric,
        labels,
        {seed: answers.predictions for seed, answers in ours.items()},
        {seed: answers.predictions for seed, answers in theirs.items()},
    )


def _comparison_columns(comparison: Comparison) -> dict[str, Any]:
    return {
        "difference": percent(comparison.difference),
        "ci_low": percent(comparison.ci_low),
        "ci_high": percent(comparison.ci_high),
        "p_examples": comparison.p_examples,
        "p_seeds": comparison.p_seeds,
        "p_mcnemar": " ".join(f"{seed}:{value:.4g}" for seed, value in comparison.p_mcnemar.items()),
        "verdict": comparison.verdict,
    }


def _mark_best(rows: Sequence[TaskRow]) -> list[TaskRow]:
    of_column: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row.mean is not None:
            of_column.setdefault(row.column, []).append(row.mean)
    return [replace(row, best=len(c := of_column.get(row.column, [])) > 1 and row.mean == max(c)) for row in rows]


def _majority_rows(summaries: Sequence[Summary], predictions: Predictions, tasks: Mapping[str, Task]) -> list[TaskRow]:
    rows = {}
    for summary in summaries:
        column = (summary.task, summary.split, summary.metric)
        if column in rows:
            continue
        answers = predictions[summary.model, summary.task, summary.seeds[0]][summary.split]
        value = majority_metrics(tasks[summary.task], answers)[summary.metric]
        rows[column] = TaskRow(MAJORITY, MAJORITY, *column, mean=percent(value), num_examples=len(answers.labels))
    return list(rows.values())


def reference_rows(path: Path | str, rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Read the published figures that belong in the columns of `rows`.

    The file is a TSV with the columns model, cross_encoder (yes or no), task, split, metric, percent, source, note.
    A cross-encoder reads both sentences together; its name says so here, since it is not like for like. Without a
    figure at hand, percent and source are empty, and the cell says so.

    Raises:
        UserError: if a figure has no source, a source has no figure, or a figure is no number.
    """
    columns = {row.column for row in rows}
    references = []
    with Path(path).open(encoding="utf-8", newline="") as file:
        for number, entry in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=2):
            if bool(entry["percent"]) != bool(entry["source"]):
                raise UserError(
                    f"{path}, line {number}: a figure without a source, or a source without a figure: give both"
                )
            try:
                percent = float(entry["percent"]) if entry["percent"] else None
            except ValueError:
                raise UserError(f"{path}, line {number}: percent is {entry['percent']!r}, no number") from None
            if (entry["task"], entry["split"], entry["metric"]) in columns:
                name = entry["model"] + (" (cross-encoder)" if entry["cross_encoder"] == "yes" else "")
                references.append(
                    TaskRow(
                        "reference",
                        name,
                        entry["task"],
                        entry["split"],
                        entry["metric"],
                        mean=percent,
                        source=entry["source"],
                        note=entry["note"],
                    )
                )
    return references


def task_markdown(rows: Sequence[TaskRow], *, tasks: Mapping[str, Task], title: str = "Task results") -> str:
    """Lay the task rows out as Markdown: results, differences from the control, and how to read them."""
    parts = [f"# {title}"]
    for heading, part in _by_kind_of_split(rows):
        parts += [f"## {heading}", _blocks(*_wide_task_table(part, _markdown_value, bold="**{}**"))]
    differences = [row for row in rows if row.control]
    if differences:
        parts += [f"## Difference from `{differences[0].control}`", _difference_table(differences)]
    parts += ["## How to read this", "\n".join(f"- {note}" for note in task_notes(rows, tasks))]
    return "\n\n".join(parts) + "\n"


def task_latex(rows: Sequence[TaskRow], *, tasks: Mapping[str, Task]) -> str:
    """Lay the task rows out as LaTeX tabulars for booktabs, one for development sets and one for labelled test sets.

    A model whose difference from the control counts, to the better or the worse, has a dagger at that number.
    """
    parts = ["% Needs \\usepackage{booktabs}."]
    for heading, part in _by_kind_of_split(rows):
        header, body, rules = _wide_task_table(part, _latex_value, bold="\\textbf{{{}}}")
        lines = [
            f"% {heading}",
            f"\\begin{{tabular}}{{l{'c' * (len(header) - 1)}}}",
            "\\toprule",
            " & ".join(map(latex_escape, header)) + " \\\\",
            "\\midrule",
        ]
        for number, cells in enumerate(body):
            if number in rules:
                lines.append("\\midrule")
            lines.append(" & ".join([latex_escape(cells[0]), *cells[1:]]) + " \\\\")
        parts.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
    notes = [note.replace("`", "").replace("**", "") for note in task_notes(rows, tasks)]
    parts.append("\n".join(f"% {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def task_notes(rows: Sequence[TaskRow], tasks: Mapping[str, Task]) -> list[str]:
    """Say what a reader must know of these rows, in one sentence or two each."""
    ours = [row for row in rows if row.kind == "model"]
    notes = ["Percent: mean ± sample standard deviation over seeds (number of seeds). **Bold**: highest mean."]
    if any(row.kind == MAJORITY for row in rows):
        notes.append("`majority`: what always answering the split's most frequent label scores.")
    selections = [name for name, task in tasks.items() if task.selection and any(row.task == name for row in ours)]
    if selections:
        notes.append(
            f"{', '.join(selections)}: answer selection; candidates are ranked by cross layer 0's attention on them. "
            "Acc.: how often the right one is first; MRR: the mean of 1 / its place; `majority`: what a random order "
            "is expected to score."
        )
    if any(row.task == AVERAGE for row in ours):
        summaries = [Summary(row.model, row.task, row.split, row.metric, (), (), 0) for row in ours]
        averaged = averaged_tasks([s for s in summaries if s.task != AVERAGE], tasks)
        notes.append(f"Average: over {', '.join(averaged)} (each task counts once), seed by seed.")
    left_out = [name for name, task in tasks.items() if not task.in_average and any(row.task == name for row in ours)]
    if left_out:
        notes.append(f"Left out of the average by custom: {', '.join(left_out)}.")
    if any(row.control for row in rows):
        notes.append(
            "A difference is called `ahead` or `behind` only if it is outside both kinds of noise at the 5 % level: "
            f"a paired bootstrap over the examples ({NUM_RESAMPLES:,} resamples; interval and p) and, with two "
            "seeds or more, Welch's t-test over the seeds. Otherwise it is `inside noise`. McNemar: the exact test "
            "of each seed's two models. No p value is corrected for the number of tests."
        )
    for name, task in tasks.items():
        expected, used = _expected_train_rows(task), {row.num_train_examples for row in ours if row.task == name}
        for number in sorted(number for number in used if number is not None):
            if expected is not None and number < expected:
                notes.append(f"{name}: fine-tuned on {number:,} of its {expected:,} training examples.")
    starts: dict[str, list[str]] = {}
    for name, task in tasks.items():
        if task.start_from and any(row.task == name for row in ours):
            starts.setdefault(task.start_from, []).append(name)
    for start, names in starts.items():
        notes.append(
            f"{', '.join(names)}: started from the model fine-tuned on {start} with the same seed, its classification "
            "head drawn anew."
        )
    undefined = [row for row in ours if row.mean is None and None in row.values]
    if undefined:
        places = ", ".join(f"{row.model} on {row.task}" for row in undefined)
        notes.append(f"`{NOT_AVAILABLE}`: no value, for the predictions are constant or not finite ({places}).")
    references = [row for row in rows if row.kind == "reference"]
    for source in dict.fromkeys(row.source for row in references if row.source):
        models = dict.fromkeys(row.model for row in references if row.source == source)
        notes.append(f"Published figures of {', '.join(models)}: {source}.")
    for note in dict.fromkeys(row.note for row in references if row.note):
        noted = [row for row in references if row.note == note]
        who, where = (", ".join(dict.fromkeys(getattr(row, key) for row in noted)) for key in ("model", "task"))
        notes.append(f"{who} on {where}: {note}.")
    if any("(cross-encoder)" in row.model for row in references):
        notes.append(
            "A cross-encoder reads both sentences of a pair together; our models embed each alone. "
            "Its figures are not like for like."
        )
    return notes


def column_name(task: str, split: str, metric: str) -> str:
    """Name a column for people: `MRPC F1`, `MNLI-mm acc.`, `SNLI test acc.`."""
    if task == AVERAGE:
        return "Average"
    place = {"valid": "", "valid1": "-mm", "test": " test", "test1": "-mm test"}.get(split, f" {split}")
    if task == "MNLI":
        place = place if "-mm" in place else f"-m{place}"
    return f"{task}{place} {METRIC_NAMES[metric]}"


def _by_kind_of_split(rows: Sequence[TaskRow]) -> list[tuple[str, list[TaskRow]]]:
    development = [row for row in rows if is_development(row.split)]
    test = [row for row in rows if not is_development(row.split)]
    return [(name, part) for name, part in [("Development sets", development), ("Test sets", test)] if part]


def _wide_task_table(
    rows: Sequence[TaskRow], value: Callable[[TaskRow], str], *, bold: str
) -> tuple[list[str], list[list[str]], set[int]]:
    """Pivot rows to model x column. Returns the header, the body, and the body rows that a rule goes before."""
    columns = list(dict.fromkeys(row.column for row in rows))
    of_cell = {(row.kind, row.model, row.column): row for row in rows}
    header = ["model", *(column_name(*column).strip() for column in columns)]
    body, rules, previous = [], set(), None
    for kind, model in dict.fromkeys((row.kind, row.model) for row in rows):
        if previous not in (None, kind):
            rules.add(len(body))
        previous = kind
        cells = [model]
        for column in columns:
            row = of_cell.get((kind, model, column))
            text = value(row) if row is not None else ""
            cells.append(bold.format(text) if row is not None and row.best else text)
        body.append(cells)
    return header, body, rules


def _markdown_value(row: TaskRow) -> str:
    if row.mean is None:
        return NOT_AVAILABLE
    if row.kind == "reference":
        return f"{row.mean:g}"  # as published, not rounded again
    if row.kind == MAJORITY:
        return f"{row.mean:.1f}"
    return mean_sd_n(row.mean, row.sd, row.n)


def _latex_value(row: TaskRow) -> str:
    if row.mean is None:
        return NOT_AVAILABLE
    if row.kind == "reference":
        return f"{row.mean:g}"
    spread = f"\\,{{\\scriptsize$\\pm$\\,{row.sd:.1f}}}" if row.sd is not None else ""
    count = f"\\,{{\\scriptsize({row.n})}}" if row.kind == "model" else ""
    dagger = "$^\\dagger$" if row.verdict.startswith(("ahead", "behind")) else ""
    return f"{row.mean:.1f}{spread}{count}{dagger}"


def _difference_table(rows: Sequence[TaskRow]) -> str:
    header = ["model", "on", "difference", "95 % interval", "p (examples)", "p (seeds)", "McNemar p", "verdict"]
    body = [
        [
            row.model,
            column_name(*row.column).strip(),
            NOT_AVAILABLE if row.difference is None else f"{row.difference:+.1f}",
            NOT_AVAILABLE if row.ci_low is None else f"{row.ci_low:+.1f} to {row.ci_high:+.1f}",
            _p_value(row.p_examples),
            _p_value(row.p_seeds),
            ", ".join(_p_value(float(pair.split(":")[1])) for pair in row.p_mcnemar.split()),
            row.verdict,
        ]
        for row in rows
    ]
    return markdown_table(header, body)


def _expected_train_rows(task: Task) -> int | None:
    if task.selection is not None:  # there, a row need not be an example
        return None
    return getattr(task.splits.get("train"), "expected_rows", None)


# ---------------------------------------------------------------------------------------------------- pre-training


@dataclass(frozen=True)
class PretrainingRow:
    """One pre-training run, at its end. `valid_loss_bits` is what fairseq prints; None where not recorded."""

    model: str
    seed: int
    updates: int
    tokens: int | None
    train_loss_bits: float | None
    valid_loss_bits: float | None
    valid_loss_nats: float | None
    valid_perplexity: float | None
    hours: float | None
    hardware: str = ""


def read_pretraining_rows(history_paths: Iterable[Path | str]) -> list[PretrainingRow]:
    """Read `results/pretrain/<model>/seed-<s>/history.tsv` files, and `command.json` beside each if it is there."""
    rows = []
    for path in map(Path, history_paths):
        rows.append(pretraining_row(read_history(path), hardware=_hardware_beside(path)))
    return rows


def pretraining_row(history: History, *, hardware: str = "") -> PretrainingRow:
    """Take the last line of each split of a history."""
    train, valid = history.last("train"), history.last("valid")
    elapsed_s = _training_time(history)
    bits = valid.loss if valid else None
    return PretrainingRow(
        model=history.model,
        seed=history.seed,
        updates=max(line.num_updates for line in history.lines),
        tokens=train.tokens if train else None,
        train_loss_bits=train.loss if train else None,
        valid_loss_bits=bits,
        valid_loss_nats=None if bits is None else bits * math.log(2),
        valid_perplexity=None if bits is None else 2**bits,
        hours=None if elapsed_s is None else elapsed_s / 3600,
        hardware=hardware,
    )


def _training_time(history: History) -> float | None:
    """Return the seconds that the history's updates took, over all attempts at the run; None if not recorded.

    Each attempt counts from its own start, so where the time falls back, another attempt goes on.
    """
    times = sorted((line.num_updates, line.elapsed_s) for line in history.lines if line.elapsed_s is not None)
    if not times:
        return None
    seconds = [elapsed for _, elapsed in times]
    return seconds[-1] + sum(before for before, after in pairwise(seconds) if after < before)


def pretraining_markdown(rows: Sequence[PretrainingRow]) -> str:
    """Lay the pre-training rows out as Markdown, one line a model."""
    header = ["model", "updates", "tokens", "loss (bits)", "loss (nats)", "perplexity", "hours", "hardware"]
    return (
        "# Pre-training\n\n"
        + markdown_table(header, _pretraining_body(rows))
        + "\n\n- Held-out masked-word loss at the last update: mean ± sample standard deviation over seeds (number of "
        "seeds).\n- Bits are what fairseq prints (base 2); perplexity is 2 to the power of them.\n"
    )


def pretraining_latex(rows: Sequence[PretrainingRow]) -> str:
    """Lay the pre-training rows out as a LaTeX tabular for booktabs."""
    header = ["model", "updates", "tokens", "loss (bits)", "loss (nats)", "perplexity", "hours", "hardware"]
    return latex_table(header, _pretraining_body(rows))


def _pretraining_body(rows: Sequence[PretrainingRow]) -> list[list[str]]:
    body = []
    for model in dict.fromkeys(row.model for row in rows):
        runs = [row for row in rows if row.model == model]
        body.append(
            [
                model,
                _same_or_range([run.updates for run in runs]),
                _same_or_range([run.tokens for run in runs]),
                _over_seeds([run.valid_loss_bits for run in runs], ".3f"),
                _over_seeds([run.valid_loss_nats for run in runs], ".3f"),
                _over_seeds([run.valid_perplexity for run in runs], ".2f"),
                _over_seeds([run.hours for run in runs], ".2g"),
                "; ".join(dict.fromkeys(run.hardware for run in runs if run.hardware)) or NOT_AVAILABLE,
            ]
        )
    return body


def _hardware_beside(path: Path) -> str:
    try:
        host = json.loads(path.with_name("command.json").read_text(encoding="utf-8"))["host"]
    except FileNotFoundError:
        return ""
    return ", ".join(host["gpus"]) or f"CPU: {host['cpu']}"


# ------------------------------------------------------------------------------------------------------ cross path


@dataclass(frozen=True)
class CrossPathRow:
    """Held-out accuracy, in percent, on the masked words that only other segments can tell.

    `condition` is `on`, `bypassed` (cross layer 0 left out) or `shuffled` (fed with other documents' segments).
    """

    model: str
    condition: str
    mean: float | None
    sd: float | None
    n: int
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    guess_rate: float
    num_words: int


def read_cross_path_rows(paths: Iterable[Path | str]) -> list[CrossPathRow]:
    """Read `results/cross_path/<model>/seed-<s>.json` files and summarise them over seeds."""
    reports: dict[str, list[dict]] = {}
    for path in map(Path, paths):
        report = json.loads(path.read_text(encoding="utf-8"))
        reports.setdefault(report["model"], []).append(report)
    rows = []
    for model, of_model in reports.items():
        of_model.sort(key=lambda report: report["seed"])
        for condition in of_model[0]["accuracy"]:
            values = tuple(report["accuracy"][condition] for report in of_model)
            summary = Summary(model, "", "", "", tuple(report["seed"] for report in of_model), values, 0)
            rows.append(
                CrossPathRow(
                    model=model,
                    condition=condition,
                    mean=percent(summary.mean),
                    sd=percent(summary.sd),
                    n=summary.n,
                    seeds=summary.seeds,
                    values=tuple(map(percent, values)),
                    guess_rate=100 * statistics.fmean(report["guess_rate"] for report in of_model),
                    num_words=sum(report["num_words"] for report in of_model),
                )
            )
    return rows


_CONDITIONS = {
    "on": "cross layer 0 on",
    "bypassed": "cross layer 0 bypassed",
    "shuffled": "fed with other documents' segments",
}


def cross_path_markdown(rows: Sequence[CrossPathRow]) -> str:
    """Lay the cross-path rows out as Markdown."""
    return (
        "# The cross path\n\n"
        + markdown_table(["model", "condition", "accuracy", "guessing"], _cross_path_body(rows))
        + "\n\n- Held-out accuracy, in percent, on masked words that only the other segments of a document can tell: "
        "mean ± sample standard deviation over seeds (number of seeds).\n"
        "- If cross layer 0 carries information, `on` is well above guessing and the others are near it.\n"
    )


def cross_path_latex(rows: Sequence[CrossPathRow]) -> str:
    """Lay the cross-path rows out as a LaTeX tabular for booktabs."""
    return latex_table(["model", "condition", "accuracy", "guessing"], _cross_path_body(rows))


def _cross_path_body(rows: Sequence[CrossPathRow]) -> list[list[str]]:
    return [
        [
            row.model,
            _CONDITIONS.get(row.condition, row.condition),
            NOT_AVAILABLE if row.mean is None else mean_sd_n(row.mean, row.sd, row.n),
            f"{row.guess_rate:.1f}",
        ]
        for row in rows
    ]


# --------------------------------------------------------------------------------------------------------- layouts


def csv_text(rows: Sequence["DataclassInstance"]) -> str:
    """Write dataclass rows as CSV: one column a field, floats with six significant digits, empty for None."""
    if not rows:
        return ""
    names = [field.name for field in fields(rows[0])]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([csv_cell(getattr(row, name)) for name in names] for row in rows)
    return file.getvalue()


def csv_cell(value: object) -> str:
    """Write one value as `csv_text` does; a sequence's items are separated by spaces."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return " ".join(NOT_AVAILABLE if item is None else csv_cell(item) for item in value)
    return str(value)


def markdown_table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table with padded columns, so that it reads in a terminal as well."""
    lines = [list(header), *(list(cells) for cells in body)]
    widths = [max(3, *(len(cells[column]) for cells in lines)) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
        for cells in [lines[0], rule, *lines[1:]]
    )


def latex_table(header: Sequence[str], body: Sequence[Sequence[str]], *, rules: Collection[int] = ()) -> str:
    """Lay out plain text cells as a LaTeX tabular for booktabs, with a rule before each of the body rows `rules`."""
    lines = [
        "% Needs \\usepackage{booktabs}.",
        f"\\begin{{tabular}}{{l{'c' * (len(header) - 1)}}}",
        "\\toprule",
        " & ".join(map(latex_escape, header)) + " \\\\",
        "\\midrule",
    ]
    for number, cells in enumerate(body):
        if number in rules:
            lines.append("\\midrule")
        lines.append(" & ".join(map(latex_escape, cells)) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def latex_escape(text: str) -> str:
    """Escape what LaTeX reads as markup, and write ± in math mode."""
    special = {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$"}
    return "".join(special.get(character, character) for character in text)


def write_table(rows: Sequence["DataclassInstance"], *, markdown: str, latex: str, files: Mapping[str, str]) -> None:
    """Write the three files of a table.

    Args:
        rows: what the CSV file holds.
        markdown, latex: the same, laid out.
        files: the paths, as `csv`, `markdown` and `latex`.
    """
    for form, text in (("csv", csv_text(rows)), ("markdown", markdown), ("latex", latex)):
        write_text(files[form], text)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_file(Path(path)) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _blocks(header: Sequence[str], body: Sequence[Sequence[str]], _rules: set[int]) -> str:
    """Break a wide Markdown table into several that fit a terminal, repeating the first column."""
    widths = [max(len(cells[column]) for cells in [header, *body]) + 3 for column in range(len(header))]
    blocks: list[list[int]] = [[]]
    width = widths[0]
    for column in range(1, len(header)):
        if blocks[-1] and width + widths[column] > _TERMINAL_WIDTH:
            blocks.append([])
            width = widths[0]
        blocks[-1].append(column)
        width += widths[column]
    return "\n\n".join(
        markdown_table([header[column] for column in [0, *block]], [[cells[c] for c in [0, *block]] for cells in body])
        for block in blocks
    )


def percent(value: float | None) -> float | None:
    """Return a share in percent, None as it is."""
    return None if value is None else 100 * value


def mean_sd_n(mean: float, sd: float | None, n: int | None, form: str = ".1f") -> str:
    """Write `mean ± sd (n)`, without the sd where there is none; `form` is the numbers' format."""
    return f"{mean:{form}}" + (f" ± {sd:{form}}" if sd is not None else "") + f" ({n})"


def _over_seeds(values: Sequence[float | None], form: str) -> str:
    defined = all_or_none(values)
    if defined is None:
        return NOT_AVAILABLE
    sd = statistics.stdev(defined) if len(defined) > 1 else None
    return mean_sd_n(statistics.fmean(defined), sd, len(defined), form)


def _same_or_range(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NOT_AVAILABLE
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _p_value(value: float | None) -> str:
    if value is None:
        return NOT_AVAILABLE
    return "<0.001" if value < 0.001 else f"{value:.3f}"
