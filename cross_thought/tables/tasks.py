"""The table of task results: our models over seeds, their differences from a control, what is set beside them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from cross_thought.data.definitions import Task, ranking_metric
from cross_thought.data.run_results import RunResults
from cross_thought.errors import UserError
from cross_thought.evaluation import aggregate
from cross_thought.evaluation.aggregate import AVERAGE, KEYS, averaged_tasks, is_development
from cross_thought.evaluation.metrics import majority_metrics
from cross_thought.evaluation.predictions import SplitPredictions, read_predictions
from cross_thought.evaluation.result_files import Read
from cross_thought.evaluation.significance import NUM_RESAMPLES, compare
from cross_thought.tables import layout
from cross_thought.tables.layout import DAGGER, NOT_AVAILABLE, Page, Section

MAJORITY = "majority"
COLUMN = ["task", "split", "metric"]
ROW_KEYS = ["kind", *KEYS]

# (model, task, seed) -> split -> what was answered
Predictions = Mapping[tuple[str, str, int], Mapping[str, SplitPredictions]]

_DIFFERENCE = ["difference", "ci_low", "ci_high"]
_SIZES = ["num_examples", "num_train_examples"]
_COLUMNS = [*ROW_KEYS, "mean", "sd", "n", "seeds", "values", *_SIZES, "best"]
_COLUMNS += ["control", *_DIFFERENCE, "p_examples", "p_seeds", "p_mcnemar", "verdict", "source", "note"]


def tabulate(results: RunResults, read: Read = aggregate.read_metrics) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out; `read` reads the `metrics.json` files."""
    documents = read(results.evaluations("metrics.json"))
    predictions = {
        (document["model"], document["task"], document["seed"]): read_predictions(path)
        for path, document in zip(results.evaluations("predictions.tsv"), documents, strict=True)
    }
    known = {"models": results.models, "tasks": results.tasks, "control": results.config["control"]}
    rows = task_rows(documents, predictions, **known, references_path=results.published["tasks"])
    num_settings = {name: len(settings) for name, settings in results.sweeps.items()}
    return rows, task_page(rows, tasks=results.tasks, counts=data_counts(documents), num_settings=num_settings)


def task_rows(
    documents: Iterable[Mapping],
    predictions: Predictions,
    *,
    models: Sequence[str],
    tasks: Mapping[str, Task],
    control: str | None = None,
    references_path: Path | str | None = None,
) -> pd.DataFrame:
    """Compute the task table, one row a number, in percent.

    Returns:
        The columns of `tasks.csv`. `kind` is `model` (ours), `majority` (always the most frequent label) or `reference`
        (published); `best` marks the highest mean of our models, where there are several; `control` and what follows
        are empty where there is no comparison; `source` and `note` are of a published figure.
    """
    tidy = aggregate.tidy_results(documents, models=models, tasks=tasks)
    ours = aggregate.over_seeds(pd.concat([tidy, aggregate.average_over_tasks(tidy, tasks)]))
    ours = ours.merge(tidy.drop_duplicates(KEYS)[[*KEYS, *_SIZES]], "left", on=KEYS)
    ours = ours.assign(kind="model", best=layout.mark_best(ours, COLUMN))
    compared = (_compare_with_control(row, predictions, tasks, control) for row in ours.itertuples())
    ours = layout.as_table(ours.join(pd.DataFrame(compared, index=ours.index)), _COLUMNS)
    ours[_DIFFERENCE] *= 100  # fractions until here
    parts = [ours, _majority_rows(tidy, predictions, tasks)]
    if references_path:
        parts.append(reference_rows(references_path, ours))
    return pd.concat([layout.as_table(part, _COLUMNS) for part in parts], ignore_index=True)


def _compare_with_control(
    row: Any, predictions: Predictions, tasks: Mapping[str, Task], control: str | None
) -> dict[str, object]:
    """Compare on the shared examples; nothing if the control has no result there."""
    if control is None or row.model == control or row.task == AVERAGE:
        return {}

    def of_seeds(model: str) -> dict[int, SplitPredictions]:
        runs = sorted(run for run in predictions if run[:2] == (model, row.task) and row.split in predictions[run])
        return {run[-1]: predictions[run][row.split] for run in runs}

    ours, theirs = of_seeds(row.model), of_seeds(control)
    if not theirs:
        return {}
    labels = next(iter(ours.values())).labels
    if any(answers.labels != labels for answers in [*ours.values(), *theirs.values()]):
        raise UserError(
            f"{row.model} and {control} were evaluated on other {row.task} examples ({row.split}): "
            "evaluate both again on the same data"
        )
    sides = ({seed: answers.predictions for seed, answers in side.items()} for side in (ours, theirs))
    comparison = compare(tasks[row.task], row.metric, labels, *sides)
    p_mcnemar = " ".join(f"{seed}:{value:.4g}" for seed, value in comparison.p_mcnemar.items())
    return {"control": control, **asdict(comparison), "p_mcnemar": p_mcnemar, "verdict": comparison.verdict}


def _majority_rows(tidy: pd.DataFrame, predictions: Predictions, tasks: Mapping[str, Task]) -> pd.DataFrame:
    rows = tidy.drop_duplicates(COLUMN)[[*KEYS, "seed", "num_examples"]]
    values = [
        majority_metrics(tasks[row.task], predictions[row.model, row.task, row.seed][row.split])[row.metric]
        for row in rows.itertuples()
    ]
    mean = 100 * pd.Series(values, index=rows.index, dtype=float)
    return rows.assign(kind=MAJORITY, model=MAJORITY, mean=mean)


def reference_rows(path: Path | str, rows: pd.DataFrame) -> pd.DataFrame:
    """Read the published figures that belong in the columns of `rows`.

    The file is a TSV with the columns model, cross_encoder (yes or no), task, split, metric, percent, source, note.
    A cross-encoder reads both sentences together; its name says so here, since it is not like for like. Without a
    figure at hand, percent and source are empty, and the cell says so.

    Raises:
        UserError: if a figure has no source, a source has no figure, or a figure is no number.
    """
    found = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3, skip_blank_lines=False)
    mean = pd.to_numeric(found["percent"].replace("", None), errors="coerce")
    for number, (text, source, figure) in enumerate(zip(found["percent"], found["source"], mean, strict=True), start=2):
        if bool(text) != bool(source):
            raise UserError(
                f"{path}, line {number}: a figure without a source, or a source without a figure: give both"
            )
        if text and pd.isna(figure):
            raise UserError(f"{path}, line {number}: percent is {text!r}, no number")
    found["model"] += found.pop("cross_encoder").map({"yes": " (cross-encoder)"}).fillna("")
    columns = rows[COLUMN].drop_duplicates()
    return found.assign(kind=layout.REFERENCE, mean=mean).merge(columns, on=COLUMN)


def task_page(
    rows: pd.DataFrame,
    *,
    tasks: Mapping[str, Task],
    counts: Mapping[str, Mapping] | None = None,
    num_settings: Mapping[str, int] | None = None,
) -> Page:
    """Lay the task rows out: development sets, labelled test sets, differences from the control.

    In LaTeX a model whose difference from the control counts, to the better or the worse, has a dagger at that number.
    `counts` are those of `data_counts`, `num_settings` of each task with a sweep how many settings each model's was
    chosen from.
    """
    development = is_development(rows["split"])
    sections = [
        layout.wide(part, _cell, index=["kind", "model"], column=_column_of, heading=heading, is_broken=True)
        for heading, part in (("Development sets", rows[development]), ("Test sets", rows[~development]))
        if len(part)
    ]
    differences = rows[rows["control"] != ""]
    if len(differences):
        heading = f"Difference from `{differences['control'].iloc[0]}`"
        sections.append(Section(pd.DataFrame(map(_difference, differences.itertuples())), heading))
    return Page("Task results", sections, task_notes(rows, tasks, counts or {}, num_settings))


def column_name(task: str, split: str, metric: str) -> str:
    """Name a column for people: `MRPC F1`, `MNLI-mm acc.`, `SNLI test acc.`."""
    if task == AVERAGE:
        return "Average"
    place = {"valid": "", "valid1": "-mm", "test": " test", "test1": "-mm test"}.get(split, f" {split}")
    if task == "MNLI":
        place = place if "-mm" in place else f"-m{place}"
    return f"{task}{place} {layout.METRIC_NAMES.get(metric, metric)}".strip()


def _column_of(row: Any) -> str:
    return column_name(row.task, row.split, row.metric)


def _cell(row: Any) -> str:
    # a published figure's row has no verdict
    return layout.mean_sd_n(row) + (DAGGER if str(row.verdict).startswith(("ahead", "behind")) else "")


def _difference(row: Any) -> dict[str, str]:
    return {
        "model": row.model,
        "on": _column_of(row),
        "difference": layout.numbers("{:+.1f}", row.difference),
        "95 % interval": layout.numbers("{:+.1f} to {:+.1f}", row.ci_low, row.ci_high),
        "p (examples)": layout.p_value(row.p_examples),
        "p (seeds)": layout.p_value(row.p_seeds),
        "McNemar p": ", ".join(layout.p_value(float(pair.split(":")[1])) for pair in row.p_mcnemar.split()),
        "verdict": row.verdict,
    }


_RANKING_NOTES = {
    "map": "MAP: mean average precision.",
    "precision": "precision@k: the share of right ones among the first k candidates.",
    "recall": "recall@k: the share of a question's right candidates that are among the first k.",
    "full_recall": "full_recall@k: how often all of a question's right candidates are among the first k.",
    "success": "success@k: how often a right candidate is among the first k.",
    "ndcg": "ndcg@k: the discounted gain of the first k candidates, by that of the best order.",
    "raw_": "raw: over all questions, those without a right candidate score 0; other metrics leave them out.",
}


def task_notes(
    rows: pd.DataFrame,
    tasks: Mapping[str, Task],
    counts: Mapping[str, Mapping],
    num_settings: Mapping[str, int] | None = None,
) -> list[str]:
    """Say what a reader must know of these rows, in one sentence or two each."""
    ours = rows[rows["kind"] == "model"]
    ran = {name: task for name, task in tasks.items() if name in set(ours["task"])}
    selections = [name for name, task in ran.items() if task.selection]
    found = [ranking_metric(metric) for name in selections for metric in ran[name].metrics]
    ranked = {name for metric in found if metric for name in (metric.name, "raw_" if metric.is_raw else "")}
    averaged = averaged_tasks(ours[ours["task"] != AVERAGE], tasks) if AVERAGE in set(ours["task"]) else []
    left_out = [name for name, task in ran.items() if not task.in_average]
    notes: dict[str, object] = {
        "Percent: mean ± sample standard deviation over seeds (number of seeds). **Bold**: highest mean.": True,
        "`majority`: what always answering the split's most frequent label scores.": MAJORITY in set(rows["kind"]),
        f"{', '.join(selections)}: answer selection; candidates are ranked by cross layer 0's attention on them. "
        "Acc.: how often a right one is first; MRR: the mean of 1 / the place of the first right one; "
        "`majority`: what a random order is expected to score.": selections,
        **{text: name in ranked for name, text in _RANKING_NOTES.items()},
        f"Average: over {', '.join(averaged)} (each task counts once), seed by seed.": averaged,
        f"Left out of the average by custom: {', '.join(left_out)}.": left_out,
        "A difference is called `ahead` or `behind` only if it is outside both kinds of noise at the 5 % level: a "
        f"paired bootstrap over the examples ({NUM_RESAMPLES:,} resamples; interval, and p, which of n examples is at "
        "least 2 / 2^n) and, with two seeds or more, Welch's t-test over the seeds. Otherwise it is `inside noise`. "
        "McNemar: the exact test of each seed's two models. No p value is corrected for the number of tests.": (
            rows["control"] != ""
        ).any(),
    }
    for name, task in ran.items():
        used = ours.loc[ours["task"] == name, "num_train_examples"].dropna()
        notes |= dict.fromkeys(count_notes(task, counts.get(name) or _counts_of_registry(task, used)), True)
    for start in dict.fromkeys(task.start_from for task in ran.values() if task.start_from):
        names = ", ".join(name for name, task in ran.items() if task.start_from == start)
        notes |= {
            f"{names}: started from the model fine-tuned on {start} with the same seed, its classification head drawn "
            "anew.": True
        }
    for name, number in (num_settings or {}).items():
        seeds = ours.loc[ours["task"] == name, "n"].max()
        notes |= {
            f"{name}: each model's setting was chosen on the development set by the median of its main metric, out of "
            f"{number * seeds:,} runs a model: settings {number}, seeds {seeds} (`sweeps.md`).": name in ran
        }
    undefined = ours[ours["mean"].isna()]
    places = ", ".join((undefined["model"] + " on " + undefined["task"]).unique())
    why = "no value, which such labels and predictions do not have: constant, or not finite"
    notes |= {f"`{NOT_AVAILABLE}`: {why} ({places}).": places}
    return layout.that_hold(notes | dict.fromkeys(reference_notes(rows), True))


def data_counts(documents: Iterable[Mapping]) -> dict[str, Mapping]:
    """Return task name -> split -> what was used, cut and left out of the data, as far as the metrics tell.

    They are facts about the data, the same for all models and seeds.
    """
    return {document["task"]: document["counts"] for document in documents if document.get("counts")}


def _counts_of_registry(task: Task, used: pd.Series) -> Mapping[str, Mapping[str, int]]:
    """Return the counts of the train split where the metrics have none: of what the registry expects."""
    expected = getattr(task.splits.get("train"), "expected_rows", None)
    if task.selection is not None or expected is None or used.empty:  # in selection, a row need not be an example
        return {}
    return {"train": {"available": expected, "used": int(used.min())}}


def count_notes(task: Task, counts: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
    """Say what of a task's data was not used, was cut or left out; any count may be missing."""
    examples = "questions" if task.selection else "examples"
    has_macro = any(name.startswith("macro_") for name in task.metrics)
    macro = "; macro means are over the others" if has_macro else ""
    for split, found in counts.items():
        used, available, dropped = found.get("used"), found.get("available"), found.get("dropped")
        number, place = found.get("examples", used), f"{task.name} ({split})"
        if used is not None and available is not None and used < available:
            kind = "" if task.selection else "training "
            yield f"{task.name}: fine-tuned on {used:,} of its {available:,} {kind}{examples}."
        if found.get("cut"):
            of = f" of {number * task.num_sentences:,}" if number and not task.selection else ""
            yield f"{place}: {found['cut']:,}{of} sentences cut at the positions."
        if found.get("unknown"):
            share = layout.percent_text(found["unknown"] / found["tokens"])
            yield f"{place}: {share} of the tokens are unknown to the vocabulary."
        if dropped:
            of = f" of {found['examples'] + dropped:,}" if "examples" in found else ""
            yield f"{place}: {dropped:,}{of} {examples} left out."
        known = {"number": number, "examples": examples, "macro": macro}
        known["column"] = getattr(task.splits.get(split), "label_column", None)
        yield from (f"{place}: {said}." for said in layout.said_of_counts(found, layout.COUNTS, known))


def reference_notes(rows: pd.DataFrame) -> Iterable[str]:
    """Say where published figures among the rows are from, and what is to know of them."""
    references = rows[rows["kind"] == layout.REFERENCE]
    if references.empty:
        return
    for source, noted in references[references["source"] != ""].groupby("source", sort=False):
        yield f"Published figures of {', '.join(noted['model'].unique())}: {source}."
    for note, noted in references[references["note"] != ""].groupby("note", sort=False):
        yield f"{', '.join(noted['model'].unique())} on {', '.join(noted['task'].unique())}: {note}."
    if references["model"].str.contains("(cross-encoder)", regex=False).any():
        yield (
            "A cross-encoder reads both sentences of a pair together; our models embed each alone. "
            "Its figures are not like for like."
        )
