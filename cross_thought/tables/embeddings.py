"""The table of embeddings as they are: a section for each task and split, our models beside what needs no training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cross_thought.data.tasks import RETRIEVAL, SIMILARITY, EmbeddingTask
from cross_thought.evaluation.aggregate import Summary, read_metrics, summarise
from cross_thought.evaluation.embeddings import COSINE_DECIMALS, LEXICAL
from cross_thought.tables.tables import (
    NOT_AVAILABLE,
    ResultRow,
    latex_escape,
    latex_table,
    markdown_table,
    mean_sd_n,
    percent,
)

CHANCE = "chance"
METRIC_NAMES = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "accuracy@1": "accuracy@1",
    "mrr": "MRR",
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
}
POOLING_NAMES = {
    "mean": "the mean of a sentence's slot states",
    "concat": "a sentence's slot states, one after the other",
    "slot0": "the state of a sentence's first slot",
}


@dataclass(frozen=True)
class EmbeddingRow(ResultRow):
    """One number of the table.

    Attributes:
        kind: `model` (ours), `lexical` (a bag of words) or `chance` (a random order, or no correlation).
        mean, sd, n: over the seeds of pre-training; of a lexical and a chance row there is one value.
        num_examples: pairs that are scored, or to be found.
        num_queries, num_candidates: of a retrieval; the candidates are the most that a query has.
        best: whether it is the highest mean among our models, where there are several.
    """

    num_queries: int | None = None
    num_candidates: int | None = None
    best: bool = False


def read_embedding_rows(
    metrics: Iterable[Path | str],
    lexical: Iterable[Path | str],
    *,
    models: Sequence[str],
    tasks: Mapping[str, EmbeddingTask],
) -> list[EmbeddingRow]:
    """Read the `metrics.json` files of our models, and of the bag of words, into the rows of the table."""
    return embedding_rows(read_metrics(metrics), read_metrics(lexical), models=models, tasks=tasks)


def embedding_rows(
    documents: Sequence[Mapping],
    lexical: Sequence[Mapping],
    *,
    models: Sequence[str],
    tasks: Mapping[str, EmbeddingTask],
) -> list[EmbeddingRow]:
    """Compute the rows, task by task: our models in order, the bag of words, chance."""
    summaries = summarise(documents, models=models, tasks=tasks)
    rows = []
    for name, task in tasks.items():
        (document,) = [document for document in lexical if document["task"] == name]
        for split, scored in document["splits"].items():
            sizes = {key: value for key, value in scored.items() if key.startswith("num_")}
            ours = [summary for summary in summaries if (summary.task, summary.split) == (name, split)]
            rows += _mark_best([replace(_row_of(summary), **sizes) for summary in ours])
            for kind, model, values in (
                ("lexical", LEXICAL, scored["metrics"]),
                (CHANCE, CHANCE, scored["chance"]),
            ):
                rows += [
                    EmbeddingRow(kind, model, name, split, metric, percent(values[metric]), **sizes)
                    for metric in task.metrics
                ]
    return rows


def _row_of(summary: Summary) -> EmbeddingRow:
    return EmbeddingRow(
        "model",
        summary.model,
        summary.task,
        summary.split,
        summary.metric,
        mean=percent(summary.mean),
        sd=percent(summary.sd),
        n=summary.n,
        seeds=summary.seeds,
        values=tuple(map(percent, summary.values)),
    )


def _mark_best(rows: Sequence[EmbeddingRow]) -> list[EmbeddingRow]:
    means: dict[str, list[float]] = {}
    for row in rows:
        if row.mean is not None:
            means.setdefault(row.metric, []).append(row.mean)
    return [replace(row, best=len(m := means.get(row.metric, [])) > 1 and row.mean == max(m)) for row in rows]


def embeddings_markdown(rows: Sequence[EmbeddingRow], *, tasks: Mapping[str, EmbeddingTask], pooling: str) -> str:
    """Lay the rows out as Markdown, and say how to read them."""
    parts = ["# Embeddings without fine-tuning"]
    for heading, part in _sections(rows, tasks):
        parts += [f"## {heading}", markdown_table(*_wide_table(part, bold="**{}**"))]
    notes = [*embeddings_notes(rows, tasks=tasks, pooling=pooling), "**Bold**: highest mean of a model."]
    return "\n\n".join([*parts, "## How to read this", "\n".join(f"- {note}" for note in notes)]) + "\n"


def embeddings_latex(rows: Sequence[EmbeddingRow], *, tasks: Mapping[str, EmbeddingTask], pooling: str) -> str:
    """Lay the rows out as LaTeX tabulars for booktabs, one a section."""
    parts = []
    for heading, part in _sections(rows, tasks):
        header, body = _wide_table(part, bold="{}")
        num_models = len({row.model for row in part if row.kind == "model"})
        parts.append(f"% {latex_escape(heading)}\n{latex_table(header, body, rules={num_models})}")
    notes = embeddings_notes(rows, tasks=tasks, pooling=pooling)
    return "\n".join([*parts, *(f"% {note.replace('`', '')}" for note in notes)]) + "\n"


def embeddings_notes(rows: Sequence[EmbeddingRow], *, tasks: Mapping[str, EmbeddingTask], pooling: str) -> list[str]:
    """Say what a reader must know of these rows."""
    kinds = {task.evaluation for task in tasks.values()}
    notes = [
        f"An embedding is {POOLING_NAMES[pooling]}, as pre-trained: nothing is learnt from these tasks.",
        "Percent: mean ± sample standard deviation over the seeds of pre-training (number of seeds).",
    ]
    if SIMILARITY in kinds:
        notes.append("Similarity: correlation of the cosine of a pair's embeddings with the pair's score.")
    if RETRIEVAL in kinds:
        notes.append(
            "Retrieval: a query is the first sentence of a positive pair; all second sentences of the split are ranked "
            "by cosine, and right are those in a positive pair with it. Accuracy@1: the first one is right. MRR: mean "
            "of 1 / rank of the first right one. Recall@k: share of the right ones among the first k. Cosines that "
            f"are equal to {COSINE_DECIMALS} decimals are ties, which wrong ones win. Sentences that mean the same "
            "but are not labelled so count as wrong."
        )
        of_label: dict[str, list[str]] = {}
        for name, task in tasks.items():
            if task.evaluation == RETRIEVAL:
                label = "all pairs" if task.positive_label is None else f"label `{task.positive_label}`"
                of_label.setdefault(label, []).append(name)
        notes.append(
            "Positive pairs: " + "; ".join(f"{label} in {', '.join(n)}" for label, n in of_label.items()) + "."
        )
    notes.append(
        f"`{LEXICAL}`: cosine of bags of words weighted by rarity, which needs no training. `{CHANCE}`: what a random "
        "order can expect; of a correlation, none."
    )
    if any(row.kind == "model" and None in row.values for row in rows):
        notes.append(f"`{NOT_AVAILABLE}`: no value, for all scores or all cosines are the same.")
    return notes


def _sections(rows: Sequence[EmbeddingRow], tasks: Mapping[str, EmbeddingTask]) -> list[tuple[str, list[EmbeddingRow]]]:
    """Return for each task and split a heading and its rows."""
    sections = []
    for task, split in dict.fromkeys((row.task, row.split) for row in rows):
        part = [row for row in rows if (row.task, row.split) == (task, split)]
        size = f"{part[0].num_examples:,} pairs"
        if part[0].num_queries is not None:
            size = f"{part[0].num_queries:,} queries, {part[0].num_candidates:,} candidates, {size} to find"
        sections.append((f"{task} ({split}), {tasks[task].evaluation}: {size}", part))
    return sections


def _wide_table(rows: Sequence[EmbeddingRow], *, bold: str) -> tuple[list[str], list[list[str]]]:
    """Pivot a section's rows to model x metric: the header and the body."""
    metrics = list(dict.fromkeys(row.metric for row in rows))
    of_cell = {(row.kind, row.model, row.metric): row for row in rows}
    body = []
    for kind, model in dict.fromkeys((row.kind, row.model) for row in rows):
        cells = [of_cell[kind, model, metric] for metric in metrics]
        body.append([model, *(bold.format(_value(row)) if row.best else _value(row) for row in cells)])
    return ["model", *(METRIC_NAMES[metric] for metric in metrics)], body


def _value(row: EmbeddingRow) -> str:
    if row.mean is None:
        return NOT_AVAILABLE
    return f"{row.mean:.1f}" if row.n is None else mean_sd_n(row.mean, row.sd, row.n)
