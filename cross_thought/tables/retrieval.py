"""The table of retrieval over collections: a section for each collection and split, our models beside BM25."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cross_thought.data.definitions import BM25, EXACT, RetrievalTask
from cross_thought.data.pairs import shown_name
from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.evaluation.embeddings import COSINE_DECIMALS
from cross_thought.evaluation.result_files import Read
from cross_thought.tables.embeddings import (
    ROW_KEYS,
    embedding_rows,
    model_notes,
    ours_and_others,
    reading_notes,
    task_sections,
)
from cross_thought.tables.layout import Page, that_hold

__all__ = ["ROW_KEYS", "retrieval_page", "tabulate"]


def tabulate(results: RunResults, read: Read = read_metrics) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out; `read` reads the `metrics.json` files."""
    ours, lexical = ours_and_others(read(results.retrieval("metrics.json")))
    models, tasks = list(map(shown_name, results.encoders)), results.retrieval_tasks
    rows = embedding_rows(ours, lexical, models=models, tasks=tasks)
    return rows, retrieval_page(rows, tasks=tasks, documents=ours)


def retrieval_page(rows: pd.DataFrame, *, tasks: Mapping[str, RetrievalTask], documents: Sequence[Mapping]) -> Page:
    """Lay the rows out, which `embedding_rows` has computed; `documents` are our models'."""

    def heading(row: Any) -> str:
        return (
            f"{row.task} ({row.split}): {row.num_queries:,} queries, {row.num_candidates:,} passages, "
            f"{row.num_examples:,} right ones to find"
        )

    notes: dict[str, object] = {
        **dict.fromkeys(model_notes(rows), True),
        "Passages are ranked by the cosine of their embedding with the query's; scores that are equal to "
        f"{COSINE_DECIMALS} decimals are ties, which wrong ones win. A passage with the query's own text is left out, "
        "unless it is judged right.": True,
        "Metrics are trec_eval's, over queries with a right passage (relevance above 0; ndcg goes by its "
        "degree).": True,
    }
    for depth in dict.fromkeys(task.depth for task in tasks.values()):
        names = [name for name, task in tasks.items() if task.depth == depth]
        notes[f"{', '.join(names)}: the first {depth:,} passages of a query are ranked."] = True
    for name, task in tasks.items():
        index = f"an approximate index ({task.index}, {task.num_probes} clusters a query)"
        notes[f"{name}: searched by {index}, which may miss passages."] = task.index != EXACT
    notes[f"`{BM25}`: Okapi BM25, which needs no training; it ranks passages that share a word with the query."] = True
    notes |= dict.fromkeys(reading_notes(documents), True)
    for place, found in ((f"{one['task']} ({split})", of) for one in documents for split, of in one["splits"].items()):
        unanswered, absent = found["num_unanswered"], found["num_absent"]
        notes[f"{place}: queries without a right passage, which raw metrics alone count: {unanswered:,}."] = unanswered
        notes[f"{place}: judged passages that the collection lacks; right ones are never found: {absent:,}."] = absent
    notes["**Bold**: highest mean of a model."] = True
    return Page("Retrieval without fine-tuning", task_sections(rows, heading), that_hold(notes))
