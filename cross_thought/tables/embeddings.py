"""The table of embeddings as they are: a section for each task and split, our models beside what needs no training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cross_thought.data.definitions import (
    BM25,
    PROBE,
    RETRIEVAL,
    SIMILARITY,
    STS_TASKS,
    TF_IDF,
    EmbeddingTask,
    RetrievalTask,
)
from cross_thought.data.pairs import TUNED, shown_name
from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.aggregate import AVERAGE, over_seeds, read_metrics, tidy_results
from cross_thought.evaluation.embeddings import COSINE_DECIMALS
from cross_thought.evaluation.probes import NUM_FOLDS
from cross_thought.evaluation.result_files import Read
from cross_thought.tables import layout
from cross_thought.tables.layout import NOT_AVAILABLE, Page, Section
from cross_thought.tables.tasks import reference_notes, reference_rows

CHANCE = "chance"
POOLING_NAMES = {
    "mean": "the mean of a sentence's slot states",
    "concat": "a sentence's slot states, one after the other",
    "slot0": "the state of a sentence's first slot",
}
SIZES = ["num_examples", "num_queries", "num_candidates"]
ROW_KEYS = ["kind", "model", "pooling", "task", "split", "metric"]
COLUMNS = [*ROW_KEYS, "mean", "sd", "n", "seeds", "values", *SIZES, "best"]


# what of a split's data is said, by the count's name
_ODD = {
    "in_train": "{count:,} {examples} stand in the train set, too",
    **{key: layout.COUNTS[key] for key in ("empty", "quoted")},
}


def tabulate(results: RunResults, read: Read = read_metrics) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out; `read` reads the `metrics.json` files."""
    ours, lexical = ours_and_others(read(results.embeddings("metrics.json")))
    models, tasks = list(map(shown_name, results.encoders)), results.embedding_tasks
    rows = embedding_rows(ours, lexical, models=models, tasks=tasks, references_path=results.published["embeddings"])
    return rows, embeddings_page(rows, tasks=tasks, documents=ours)


def embedding_rows(
    documents: Sequence[Mapping],
    lexical: Sequence[Mapping],
    *,
    models: Sequence[str],
    tasks: Mapping[str, EmbeddingTask] | Mapping[str, RetrievalTask],
    references_path: Path | str | None = None,
) -> pd.DataFrame:
    """Compute the rows, task by task: our models in order, one pooling after the other, bags of words, chance.

    With all of `STS_TASKS`, the average of their test sets' Spearman correlations comes last, as the task `average`.

    Returns:
        The columns of `embeddings.csv`, in percent. `kind` is `model` (ours), `lexical` (bags of words) or `chance` (a
        random order, or no correlation), which have one value; `num_examples` are the pairs that are scored, or to be
        found, `num_candidates` the most that a query has; `best` marks the highest mean of our models. If there are
        published figures, their `kind` is `reference`, and `source` and `note` follow.
    """
    parts = []
    for pooling in dict.fromkeys(document["pooling"] for document in documents):
        of_pooling = [document for document in documents if document["pooling"] == pooling]
        tidy = tidy_results(of_pooling, models=models, tasks=tasks)
        tidy = pd.concat([tidy, *_sts_average(tidy, "value", by=["model", "seed"])])
        parts.append(over_seeds(tidy).assign(kind="model", pooling=pooling))
    ours = pd.concat(parts)
    ours["best"] = layout.mark_best(ours, ["task", "split", "metric"])
    untrained = pd.DataFrame(
        [
            {"kind": kind, "model": model or document["model"], "pooling": "", "task": document["task"], **scored}
            | {"split": split, "metric": metric}
            | {"mean": layout.percent(scored[key][metric])}
            for kind, model, key in (("lexical", "", "metrics"), (CHANCE, CHANCE, "chance"))
            for document in sorted(lexical, key=lambda document: list(tasks).index(document["task"]))
            for split, scored in document["splits"].items()
            if key in scored
            for metric in tasks[document["task"]].metrics
        ]
    ).reindex(columns=COLUMNS)
    untrained = untrained.drop_duplicates(ROW_KEYS)  # chance is the same beside every method
    untrained = pd.concat([untrained, *_sts_average(untrained, "mean", by=["kind", "model"])])
    sections = untrained.drop_duplicates(["task", "split"])[["task", "split", *SIZES]]
    rows = pd.concat([ours.merge(sections, on=["task", "split"]), untrained])
    columns = list(COLUMNS)
    if references_path:
        published = reference_rows(references_path, rows)
        rows = pd.concat([rows, published])
        columns += ["source", "note"] if len(published) else []
    return layout.as_table(sections[["task", "split"]].merge(rows, on=["task", "split"]), columns)  # section by section


def _sts_average(values: pd.DataFrame, column: str, *, by: Sequence[str]) -> list[pd.DataFrame]:
    """Average a column over the test sets of `STS_TASKS`, in a list: nothing where not all of them are there."""
    counted = _published_sts(values)
    groups = counted.groupby(list(by), sort=False)[column]
    average = groups.mean(skipna=False)[groups.size() == len(STS_TASKS)].reset_index()
    return [average.assign(task=AVERAGE, split="test", metric="spearman")] if len(average) else []


def _published_sts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what papers report: the Spearman correlations of the STS test sets, and their average."""
    of_task = rows["task"].isin([*STS_TASKS, AVERAGE])
    return rows[of_task & (rows["split"] == "test") & (rows["metric"] == "spearman")]


def ours_and_others(documents: Iterable[Mapping]) -> tuple[list[Mapping], list[Mapping]]:
    """Part the documents of our models, which have a pooling, from those of what needs no training."""
    documents = list(documents)
    return [one for one in documents if one["pooling"]], [one for one in documents if not one["pooling"]]


def embeddings_page(
    rows: pd.DataFrame, *, tasks: Mapping[str, EmbeddingTask], documents: Sequence[Mapping] = ()
) -> Page:
    """Lay the rows out, a section for each task and split; `documents` are our models', for what they cut."""

    def heading(row: Any) -> str:
        size = f"{row.num_examples:,} {'examples' if tasks[row.task].evaluation == PROBE else 'pairs'}"
        if not pd.isna(row.num_queries):
            size = f"{row.num_queries:,} queries, {row.num_candidates:,} candidates, {size} to find"
        return f"{row.task} ({row.split}), {tasks[row.task].evaluation}: {size}"

    is_average = rows["task"] == AVERAGE
    sections = task_sections(rows[~is_average], heading)
    if is_average.any():
        about = "STS (test), similarity: Spearman over all pairs of a task"
        of_task = {AVERAGE: "Average"}
        sections.insert(0, _section(_published_sts(rows), rows, lambda row: of_task.get(row.task, row.task), about))
    notes = embeddings_notes(rows, tasks=tasks, documents=documents)
    return Page("Embeddings" if _has_tuned(rows) else "Embeddings without fine-tuning", sections, notes)


def task_sections(rows: pd.DataFrame, heading: Callable[[Any], str]) -> list[Section]:
    """Lay rows out, a section for each task and split; `heading` writes that of the section with a row."""
    parts = [part for _, part in rows.groupby(["task", "split"], sort=False)]
    return [_section(part, rows, layout.metric_name, heading(next(part.itertuples()))) for part in parts]


def _section(part: pd.DataFrame, rows: pd.DataFrame, column: Callable[[Any], str], heading: str) -> Section:
    names = ["model", "pooling"] if len(_poolings(rows)) > 1 else ["model"]
    part = part.assign(trained=part["kind"] == "model")
    return layout.wide(part, layout.mean_sd_n, index=["trained", *names], column=column, heading=heading)


def _has_tuned(rows: pd.DataFrame) -> bool:
    return rows["model"].str.contains(TUNED, regex=False).any()


def _poolings(rows: pd.DataFrame) -> list[str]:
    return list(rows.loc[rows["kind"] == "model", "pooling"].unique())


def embeddings_notes(
    rows: pd.DataFrame, *, tasks: Mapping[str, EmbeddingTask], documents: Sequence[Mapping]
) -> list[str]:
    """Say what a reader must know of these rows."""
    kinds = {task.evaluation for task in tasks.values()}
    has_average = (rows["task"] == AVERAGE).any()
    parted = ", ".join(name for name, task in tasks.items() if task.has_parts)
    of_label: dict[str, list[str]] = {}  # what makes a pair positive -> the tasks
    for name, task in tasks.items():
        if task.evaluation == RETRIEVAL:
            label = "all pairs" if task.positive_label is None else f"label `{task.positive_label}`"
            of_label.setdefault(label, []).append(name)
    positive = "; ".join(f"{label} in {', '.join(names)}" for label, names in of_label.items())
    bm25 = f"`{BM25}`: candidates ranked by Okapi BM25, which needs none either. " if RETRIEVAL in kinds else ""
    notes: dict[str, object] = {
        **dict.fromkeys(model_notes(rows), True),
        "Similarity: correlation of the cosine of a pair's embeddings with the pair's score.": SIMILARITY in kinds,
        f"{parted}: correlations are over the pairs of all parts together; Spearman, mean: the mean of the parts' "
        "own.": parted,
        f"Average: of Spearman over all pairs of the test sets of {', '.join(STS_TASKS)}, seed by seed.": has_average,
        "Retrieval: a query is the first sentence of a positive pair; all second sentences of the split are ranked by "
        "cosine, and right are those in a positive pair with it. Accuracy@1: the first one is right. MRR: mean of "
        "1 / rank of the first right one. Recall@k: share of the right ones among the first k. Cosines that are equal "
        f"to {COSINE_DECIMALS} decimals are ties, which wrong ones win. Sentences that mean the same but are not "
        "labelled so count as wrong.": RETRIEVAL in kinds,
        f"Positive pairs: {positive}.": RETRIEVAL in kinds,
        "Probe: a logistic regression on embeddings that stay as they are, trained on the train set, its penalty "
        f"chosen by {NUM_FOLDS}-fold cross-validation there; of a pair, on u, v, |u - v| and u * v. `{TF_IDF}`: "
        f"the same on bags of words. `{CHANCE}`: always the most frequent label.": PROBE in kinds,
        f"`{TF_IDF}`: cosine of bags of words weighted by rarity, which needs no training. {bm25}`{CHANCE}`: what a "
        "random order can expect; of a correlation, none.": True,
    }
    notes |= dict.fromkeys(reading_notes(documents), True)
    counts = [(one["task"], split, found) for one in documents for split, found in one.get("counts", {}).items()]
    for name, split, found in counts:
        if found.get("dropped"):
            notes[f"{name} ({split}): {found['dropped']:,} of {found['pairs']:,} pairs left out."] = True
        odd = layout.said_of_counts(found, _ODD, {"examples": "examples"})
        notes |= dict.fromkeys((f"{name} ({split}): {said}." for said in odd), True)
    for name, _, found in counts:
        if "used" in found:
            notes[f"{name}: probed with {found['used']:,} of its {found['available']:,} training examples."] = True
    for name, task in tasks.items():
        for split in task.unread:
            notes[
                f"{name} ({split}): not scored, for its file may have no labels; if it has, say so: "
                f"`files: {{{split}: {{path: ..., label_column: ...}}}}`."
            ] = True
    is_undefined = rows["mean"].isna() & (rows["kind"] == "model")
    notes[f"`{NOT_AVAILABLE}`: no value, for all scores or all cosines are the same."] = is_undefined.any()
    notes["**Bold**: highest mean of a model."] = True
    return layout.that_hold(notes | dict.fromkeys(reference_notes(rows), True))


def model_notes(rows: pd.DataFrame) -> list[str]:
    """Say what the embeddings are of, and what the numbers are over."""
    poolings, has_tuned = _poolings(rows), _has_tuned(rows)
    said = [POOLING_NAMES[pooling] + (f" (`{pooling}`)" if len(poolings) > 1 else "") for pooling in poolings]
    trained = "as pre-trained unless the row says tuned" if has_tuned else "as pre-trained"
    tuned = (
        "`(tuned on PAIRS)`: the model after contrastive tuning on the positive pairs of that train set, over the "
        "seeds of tuning; of the tasks above, it may have learnt from the train set of PAIRS."
    )
    return [
        f"An embedding is {' or '.join(said)}, {trained}: nothing is learnt from these tasks.",
        "Percent: mean ± sample standard deviation over the seeds of pre-training (number of seeds).",
        *([tuned] if has_tuned else []),
    ]


def reading_notes(documents: Sequence[Mapping]) -> list[str]:
    """Say what was cut or is unknown; of which models, where they differ: each has positions of its own."""
    models_of: dict[str, dict[str, None]] = {}
    for document in documents:
        for split, found in document.get("counts", {}).items():
            said = []
            if found.get("cut"):
                said.append(f"{found['cut']:,} of {found['sentences']:,} sentences cut at the positions")
            if found.get("unknown"):
                share = layout.percent_text(found["unknown"] / found["tokens"])
                said.append(f"{share} of the tokens are unknown to the vocabulary")
            for text in said:
                models_of.setdefault(f"{document['task']} ({split}): {text}", {})[document["model"]] = None
    num_models = len({document["model"] for document in documents})
    return [
        text + ("." if len(models) == num_models else f" ({', '.join(models)}).") for text, models in models_of.items()
    ]
