"""The table of embeddings: means over seeds beside what needs no training, laid out three times."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cross_thought.data.definitions import STS_TASKS, EmbeddingTask
from cross_thought.data.embedding_tasks import embedding_tasks_of
from cross_thought.environment import REPOSITORY
from cross_thought.evaluation.embeddings import PartedSimilarities, Rankings, Similarities, embeddings_document
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


def test_what_the_vocabulary_does_not_know_is_said(rows: pd.DataFrame) -> None:
    documents = [
        {
            "model": model,
            "task": "MRPC",
            "counts": {"valid": {"sentences": 9, "cut": 0, "tokens": 90, "unknown": unknown}},
        }
        for model, unknown in (("a", 90), ("b", 1))
    ]
    page = embeddings_page(rows, tasks=TASKS, documents=documents)
    assert [note for note in page.notes if "unknown" in note] == [
        "MRPC (valid): 100 % of the tokens are unknown to the vocabulary (a).",
        "MRPC (valid): 1.1 % of the tokens are unknown to the vocabulary (b).",
    ]


def test_what_is_odd_about_the_data_is_said(rows: pd.DataFrame) -> None:
    found = {"sentences": 9, "cut": 0, "in_train": 3, "empty": 2, "quoted": 1}
    documents = [{"model": model, "task": "MRPC", "counts": {"valid": found}} for model in ("a", "b")]
    tasks = TASKS | {"MRPC": replace(TASKS["MRPC"], unread=("test",))}
    page = embeddings_page(rows, tasks=tasks, documents=documents)
    assert [note for note in page.notes if note.startswith("MRPC (")] == [
        "MRPC (valid): 3 examples stand in the train set, too.",
        "MRPC (valid): 2 examples with an empty sentence.",
        "MRPC (valid): 1 cells seem to be in quote marks, which were kept as text.",
        "MRPC (test): not scored, for its file may have no labels; if it has, say so: "
        "`files: {test: {path: ..., label_column: ...}}`.",
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


def sts_document(model: str, seed: int | None, task: EmbeddingTask, cosines: list[float]) -> dict:
    """Return the metrics of a model on an STS task of four pairs, of two parts where a year has such."""
    scores = [0.0, 1.0, 2.0, 5.0]
    pairs = Similarities([0, 1, 2, 3], scores, cosines)
    if task.has_parts:
        pairs = PartedSimilarities(**vars(pairs), part=["a", "a", "b", "b"])
    pooling = None if seed is None else "mean"
    counts = {split: {"sentences": 8, "cut": 0, "pairs": 9, "dropped": 5} for split in ("test",) if task.has_parts}
    splits = dict.fromkeys(task.splits, pairs)
    return embeddings_document(model=model, task=task, seed=seed, pooling=pooling, pairs=splits, counts=counts)


def test_sts_is_averaged_as_papers_print_it(tmp_path: Path) -> None:
    tasks = embedding_tasks_of({"tasks": {}, "embedding_tasks": {name: {} for name in STS_TASKS}})
    right, turned = [0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.4, 0.3]  # a correlation of 1, and of 0.6; of parts, 1 and -1
    ours = [
        sts_document("ct", seed, task, turned if seed == 2 and name in ("STS12", "SICK-R") else right)
        for seed in (1, 2)
        for name, task in tasks.items()
    ]
    lexical = [sts_document("tf-idf", None, task, turned) for task in tasks.values()]
    path = REPOSITORY / "resources" / "reference_embeddings.tsv"
    rows = embedding_rows(ours, lexical, models=["ct"], tasks=tasks, references_path=path)
    of = {(row.model, row.task, row.split, row.metric): row for row in rows.itertuples()}
    average = of["ct", "average", "test", "spearman"]
    assert average.values == pytest.approx([100, 100 * (5 + 2 * 0.6) / 7])
    assert (average.n, average.seeds) == (2, (1, 2))
    assert of["ct", "STS12", "test", "spearman"].values == pytest.approx([100, 60])
    assert of["ct", "STS12", "test", "spearman_mean"].values == pytest.approx([100, -100])
    assert of["tf-idf", "average", "test", "spearman"].mean == pytest.approx(60)
    assert of["sup-simcse-bert-base-uncased", "average", "test", "spearman"].mean == 81.58
    assert ("SBERT-NLI-base", "STSBenchmark", "valid", "spearman") not in of

    page = embeddings_page(rows, tasks=tasks, documents=ours)
    first, *others = page.sections
    assert first.heading == "STS (test), similarity: Spearman over all pairs of a task"
    assert list(first.cells) == ["model", *STS_TASKS, "Average"]
    printed = first.cells.set_index("model")
    assert list(printed.loc["ct"]) == ["80.0 ± 28.3 (2)", *["100.0 ± 0.0 (2)"] * 5, "80.0 ± 28.3 (2)", "94.3 ± 8.1 (2)"]
    assert list(printed.loc["SBERT-NLI-base"]) == [
        *("70.97", "76.53", "73.19", "79.09", "74.3", "77.03", "72.91", "74.89")
    ]
    assert list(printed.loc["Avg. GloVe embeddings"])[-3:] == ["58.02", "53.76", "61.32"]
    assert len(others) == 9  # five years, two of STSBenchmark and of SICK-R each
    assert list(others[0].cells) == ["model", "Spearman", "Pearson", "Spearman, mean"]
    notes = "\n".join(page.notes)
    assert "STS12, STS13, STS14, STS15, STS16: correlations are over the pairs of all parts together" in notes
    assert "Average: of Spearman over all pairs of the test sets of STS12," in notes
    assert "STS12 (test): 5 of 9 pairs left out." in notes
    assert "Published figures of Avg. GloVe embeddings, SBERT-NLI-base: Reimers and Gurevych" in notes
    # a figure of which no source was at hand is said to be so
    (tmp_path / "references.tsv").write_text(
        "model\tcross_encoder\ttask\tsplit\tmetric\tpercent\tsource\tnote\n"
        "LASER\tno\taverage\ttest\tspearman\t\t\tno source\nLASER\tno\tSTS12\ttest\tspearman\t50.5\tpage\t\n"
    )
    known = embedding_rows(ours, lexical, models=["ct"], tasks=tasks, references_path=tmp_path / "references.tsv")
    cells = embeddings_page(known, tasks=tasks, documents=ours).sections[0].cells.set_index("model")
    assert list(cells.loc["LASER"]) == ["50.5", *[""] * 6, "n/a"]
    # without one of them there is no average
    fewer = {name: task for name, task in tasks.items() if name != "STS14"}
    rows = embedding_rows(ours, lexical[:2] + lexical[3:], models=["ct"], tasks=fewer, references_path=path)
    assert "average" not in set(rows["task"])


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
