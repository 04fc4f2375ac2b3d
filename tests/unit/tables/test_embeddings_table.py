"""The table of embeddings: means over seeds beside what needs no training, laid out three times."""

import math
import re

import pandas as pd
import pytest

from cross_thought.data.tasks import EmbeddingTask
from cross_thought.evaluation.embeddings import Rankings, Similarities, embeddings_document
from cross_thought.tables.embeddings import embedding_rows, embeddings_page
from cross_thought.tables.layout import latex, markdown, wide

TASKS = {
    "STS-B": EmbeddingTask(name="STS-B", evaluation="similarity", splits=("valid",)),
    "MRPC": EmbeddingTask(name="MRPC", evaluation="retrieval", splits=("valid",), positive_label="1"),
}


def document(model: str, task: str, seed: int | None, *, rank: int, pooling: str = "mean") -> dict:
    """Return the metrics of a model that puts the last of three answers at a rank."""
    pairs = {
        "STS-B": Similarities([0, 1, 2], [0.0, 2.0, 5.0], [0.1, 0.1 * rank, 0.9]),
        "MRPC": Rankings([0, 1, 5], [0, 1, 5], [1200, 1200, 1199], [1, 2, rank], [0.5, 0.5, 0.5]),
    }
    return embeddings_document(model=model, task=TASKS[task], seed=seed, pooling=pooling, pairs={"valid": pairs[task]})


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """The rows of two models, one of them with two seeds."""
    ours = [
        document(model, task, seed, rank=rank)
        for model, seed, rank in (("ct", 1, 1), ("ct", 2, 4), ("mlm", 1, 9))
        for task in TASKS
    ]
    lexical = [document("tf-idf", task, None, rank=1) for task in TASKS]
    return embedding_rows(ours, lexical, models=["ct", "mlm"], tasks=TASKS)


def test_rows_are_means_over_seeds(rows: pd.DataFrame) -> None:
    of = {(row.model, row.task, row.metric): row for row in rows.itertuples()}
    mrr = of["ct", "MRPC", "mrr"]
    values = [100 * (1 + 1 / 2 + 1 / rank) / 3 for rank in (1, 4)]
    assert mrr.values == pytest.approx(values)
    assert (mrr.mean, mrr.n, mrr.seeds, mrr.best) == (pytest.approx(sum(values) / 2), 2, (1, 2), True)
    assert (mrr.num_examples, mrr.num_queries, mrr.num_candidates) == (3, 3, 1200)
    assert math.isnan(of["mlm", "MRPC", "mrr"].sd)
    assert of["mlm", "MRPC", "recall@10"].mean == pytest.approx(100)
    assert of["tf-idf", "MRPC", "accuracy@1"].mean == pytest.approx(200 / 3)
    assert of["chance", "MRPC", "recall@10"].mean == pytest.approx(100 * 10 / 1200, rel=1e-3)
    assert of["chance", "STS-B", "pearson"].mean == 0
    assert list(rows.loc[rows["metric"] == "spearman", "kind"]) == ["model", "model", "lexical", "chance"]


def test_each_task_has_a_section(rows: pd.DataFrame) -> None:
    text = markdown(embeddings_page(rows, tasks=TASKS))
    assert "## STS-B (valid), similarity: 3 pairs" in text
    assert "## MRPC (valid), retrieval: 3 queries, 1,200 candidates, 3 pairs to find" in text
    assert re.search(r"\| chance +\| 0\.1", text)
    assert "- An embedding is the mean of a sentence's slot states, as pre-trained" in text
    assert "pooling" not in text
    assert "- Positive pairs: label `1` in MRPC." in text


def test_the_latex_says_the_same(rows: pd.DataFrame) -> None:
    text = latex(embeddings_page(rows, tasks=TASKS))
    assert text.count("\\begin{tabular}{lcc}") == text.count("\\begin{tabular}{lccccc}") == 1
    assert "tf-idf & 66.7" in text
    assert "**" not in text
    assert all(line.startswith("%") for line in text[text.rindex("\\end{tabular}") :].splitlines()[1:] if line)


def test_sentences_that_were_cut_are_said(rows: pd.DataFrame) -> None:
    documents = [
        {"model": model, "task": task, "counts": {"valid": {"sentences": sentences, "cut": cut}}}
        for model in ("a", "b")
        for task, sentences, cut in (("STS-B", 1805, 488), ("MRPC", 9, 0))
    ]
    page = embeddings_page(rows, tasks=TASKS, documents=documents)
    assert [note for note in page.notes if "cut at" in note] == [
        "STS-B (valid): 488 of 1,805 sentences cut at the positions."
    ]
    assert "% STS-B (valid): 488 of 1,805" in latex(page)

    # a model with fewer positions cuts more
    documents[2]["counts"]["valid"]["cut"] = 500
    page = embeddings_page(rows, tasks=TASKS, documents=documents)
    assert [note for note in page.notes if "cut at" in note] == [
        "STS-B (valid): 488 of 1,805 sentences cut at the positions (a).",
        "STS-B (valid): 500 of 1,805 sentences cut at the positions (b).",
    ]


def test_two_poolings_stand_below_each_other_and_bm25_where_it_ranks() -> None:
    ours = [document("ct", "MRPC", 1, rank=rank, pooling=pooling) for pooling, rank in (("mean", 4), ("concat", 2))]
    lexical = [document(method, "MRPC", None, rank=1) for method in ("tf-idf", "bm25")]
    rows = embedding_rows(ours, lexical, models=["ct"], tasks={"MRPC": TASKS["MRPC"]})
    page = embeddings_page(rows, tasks={"MRPC": TASKS["MRPC"]})
    cells = page.sections[0].cells
    assert cells[["model", "pooling"]].to_numpy().tolist() == [
        ["ct", "mean"], ["ct", "concat"], ["tf-idf", ""], ["bm25", ""], ["chance", ""]
    ]  # fmt: skip
    assert list(cells["MRR"][:2]) == ["58.3 (1)", "**66.7 (1)**"]
    assert "(`mean`) or a sentence's slot states, one after the other (`concat`), as pre-trained" in page.notes[0]
    assert any("Okapi BM25" in note for note in page.notes)


def test_each_cell_stands_in_the_row_and_the_column_of_its_own() -> None:
    places = [("ct", "concat"), ("mlm", "concat"), ("ct", "mean"), ("mlm", "mean"), ("bm25", "")]
    rows = pd.DataFrame(
        [
            {"trained": pooling != "", "model": model, "pooling": pooling, "metric": metric}
            for model, pooling in places
            for metric in ("mrr", "accuracy")
        ]
    )
    section = wide(
        rows,
        lambda row: f"{row.model} {row.pooling} {row.metric}",
        index=["trained", "model", "pooling"],
        column=lambda row: row.metric,
    )
    assert section.cells.columns.tolist() == ["model", "pooling", "mrr", "accuracy"]
    assert section.cells.to_numpy().tolist() == [
        [model, pooling, *(f"{model} {pooling} {metric}" for metric in ("mrr", "accuracy"))]
        for model, pooling in places
    ]
    assert section.rules == [4]
