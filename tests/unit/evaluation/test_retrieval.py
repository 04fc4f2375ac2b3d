"""Retrieval over a collection: search against brute force, runs against trec_eval and the embedding tasks' own numbers."""

import random
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from cross_thought.data.definitions import EmbeddingTask, RetrievalTask
from cross_thought.data.prepared import Example
from cross_thought.data.retrieval import prepare_collection, read_qrels
from cross_thought.errors import UserError
from cross_thought.evaluation import search
from cross_thought.evaluation.embeddings import evaluate_split
from cross_thought.evaluation.retrieval import (
    Collection,
    read_run,
    retrieval_document,
    retrieval_metrics,
    search_embeddings,
    search_words,
    write_run,
)
from cross_thought.evaluation.search import nearest

faiss = pytest.importorskip("faiss", reason="needs faiss-cpu")


def write(folder: Path, queries: dict[str, str], passages: dict[str, str], qrels: str) -> RetrievalTask:
    """Write a collection's raw files, and prepare them in `folder / "prepared"`."""
    for name, texts in (("queries", queries), ("passages", passages)):
        lines = ["id\ttext", *(f"{key}\t{text}" for key, text in texts.items())]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "qrels.tsv").write_text(qrels)
    files = {name: (str(folder / f"{name}.tsv"),) for name in ("queries", "passages")}
    task = RetrievalTask(name="mine", judgements={"test": (str(folder / "qrels.tsv"),)}, **files)
    prepare_collection(task, folder / "prepared")
    return task


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_exact_search_is_brute_force_block_by_block(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    queries = generator.normal(size=(7, 16)).astype(np.float32)
    passages = generator.normal(size=(300, 16)).astype(precision)
    products = queries @ passages.astype(np.float32).T
    order = np.argsort(-products, axis=1)
    for block in (1 << 25, 16 * 32, 16 * 4):  # the last blocks are smaller than the depth
        monkeypatch.setattr(search, "BLOCK_NUMBERS", block)
        scores, places = nearest(queries, passages, 10)
        np.testing.assert_array_equal(places, order[:, :10])
        np.testing.assert_allclose(scores, np.take_along_axis(products, places, axis=1), rtol=1e-5)
    assert nearest(queries, passages, 500)[1].shape == (7, 300)


def test_an_approximate_search_finds_what_its_clusters_have() -> None:
    generator = np.random.default_rng(2)
    centres = generator.normal(size=(40, 16))
    passages = (np.repeat(centres, 100, axis=0) + 0.05 * generator.normal(size=(4000, 16))).astype(np.float32)
    queries = (centres + 0.05 * generator.normal(size=(40, 16))).astype(np.float32)
    _, exact = nearest(queries, passages, 10)
    _, found = nearest(queries, passages, 10, index="ivf", num_probes=16)
    assert np.mean([len({*one} & {*other}) / 10 for one, other in zip(exact, found, strict=True)]) > 0.9
    np.testing.assert_array_equal(found, nearest(queries, passages, 10, index="ivf", num_probes=16)[1])
    # of one cluster, fewer are there than asked for
    _, few = nearest(queries, passages, 4000, index="ivf", num_probes=1)
    assert (few == -1).any()
    assert nearest(queries, passages[:5], 10, index="ivf")[1].shape == (40, 5)


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_an_embedding_that_is_not_finite_is_refused(index: str) -> None:
    passages = np.ones((50, 4), np.float32)
    passages[33, 2] = np.nan
    with pytest.raises(UserError, match="an embedding of the collection is not finite: the checkpoint is damaged"):
        nearest(np.ones((1, 4), np.float32), passages, 3, index=index)


def test_ties_go_against_the_encoder_and_the_querys_own_text_is_left_out(tmp_path: Path) -> None:
    passages = {"a": "one", "b": "two", "c": "three", "d": "what", "e": "where", "f": "four"}
    qrels = "q1 0 c 1\nq1 0 a 0\nq2 0 e 2\nq3 0 gone 1\n"
    task = write(tmp_path, {"q1": "what", "q2": "where", "q3": "who", "q4": "unjudged"}, passages, qrels)
    collection = Collection(tmp_path / "prepared", task)
    assert collection.queries == ["q1", "q2", "q3"]
    assert collection.left_out == [{3}, set(), set()]  # e is judged right for its own text
    scores = np.asarray([0.9, 0.5, 0.5, 0.5, 0.4999999, 0.1], np.float32)
    places = np.asarray([3, 2, 1, 0, 5, -1])
    write_run(tmp_path / "run.trec", task, collection, [(scores, places)] * 3, tag="mine")
    lines = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    # the right one, c, comes last of those with 0.5
    assert [line[2] for line in lines if line[0] == "q1"] == ["a", "b", "f", "c"]
    assert [line[2] for line in lines if line[0] == "q3"] == ["d", "a", "b", "c", "f"]
    of_q1 = [float(line[4]) for line in lines if line[0] == "q1"]
    assert of_q1 == sorted(set(of_q1), reverse=True)
    assert of_q1 == pytest.approx([0.5] * 4, abs=1e-6)
    assert lines[0] == ["q1", "Q0", "a", "1", "0.5", "mine"]

    document = retrieval_document(
        model="m", task=task, seed=1, pooling="mean", run=tmp_path / "run.trec", prepared=tmp_path / "prepared"
    )
    split = document["splits"]["test"]
    sizes = ("num_examples", "num_queries", "num_unanswered", "num_absent", "num_candidates")
    assert [split[size] for size in sizes] == [3, 3, 0, 1, 6]
    assert split["metrics"]["mrr"] == pytest.approx((1 / 4 + 0 + 0) / 3)


def test_metrics_are_trec_evals_own_on_the_run_file(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    queries = {f"q{number}": f"query {number}" for number in range(20)}
    passages = {f"p{number}": f"passage {number}" for number in range(200)}
    lines = [
        f"q{number} 0 p{place} {generator.integers(0, 4)}"
        for number in range(20)
        for place in generator.choice(200, 8, replace=False)
    ]
    lines.append("q0 0 p199 -1")
    task = write(tmp_path, queries, passages, "\n".join(dict.fromkeys(lines)) + "\n")
    collection = Collection(tmp_path / "prepared", task)
    vectors = [generator.normal(size=(size, 8)).astype(np.float32) for size in (20, 200)]
    write_run(tmp_path / "run.trec", task, collection, search_embeddings(task, collection, *vectors), tag="t")
    with open(tmp_path / "run.trec") as file:
        run = pytrec_eval.parse_run(file)
    with open(tmp_path / "prepared" / "test.qrels") as file:
        qrel = pytrec_eval.parse_qrel(file)
    names = {"ndcg@10": "ndcg_cut_10", "mrr": "recip_rank", "map": "map", "recall@100": "recall_100"}
    scored = pytrec_eval.RelevanceEvaluator(qrel, set(names.values())).evaluate(run)
    has_right = [query for query, of_query in qrel.items() if max(of_query.values()) > 0]
    found = retrieval_metrics(
        [*names, "raw_map"], read_qrels(tmp_path / "prepared" / "test.qrels"), read_run(tmp_path / "run.trec")
    )
    for name, theirs in names.items():
        assert found[name] == pytest.approx(np.mean([scored[query][theirs] for query in has_right])), name
    assert found["raw_map"] == pytest.approx(np.mean([of_query["map"] for of_query in scored.values()]))
    # a query for which nothing was found scores 0, and is counted
    assert retrieval_metrics(["mrr"], {"a": {"x": 1}, "b": {"x": 1}}, {"a": {"x": 0.5}}) == {"mrr": 0.5}
    assert retrieval_metrics(["mrr"], {"a": {"x": 0}}, {"a": {"x": 0.5}}) == {"mrr": None}


def test_a_collection_gives_the_numbers_of_the_embedding_tasks(tmp_path: Path) -> None:
    """The pairs of a retrieval task as queries, passages and judgements: one code for two ways in."""
    draw = random.Random(4)
    words = ["dog", "cat", "red", "blue", "runs", "sleeps", "house", "tree"]
    sentences = [" ".join(draw.choices(words, k=4)) for _ in range(80)]
    pairs = [Example(draw.choice("01"), tuple(draw.choices(sentences, k=2))) for _ in range(150)]
    generator = np.random.default_rng(4)
    vectors = {sentence: generator.normal(size=6) for sentence in sentences}
    vectors = {sentence: (vector / np.linalg.norm(vector)).astype(np.float32) for sentence, vector in vectors.items()}

    def encode(texts: list[str]) -> np.ndarray:
        return np.asarray([vectors[text] for text in texts])

    pool = list(dict.fromkeys(second for _, (_, second) in pairs))
    right = [pair for label, pair in pairs if label == "1" and pair[0] != pair[1]]
    asked = list(dict.fromkeys(first for first, _ in right))
    qrels = {f"{asked.index(first)} 0 {pool.index(second)} 1" for first, second in right}
    texts = ({str(place): text for place, text in enumerate(texts)} for texts in (asked, pool))
    task = write(tmp_path, *texts, "\n".join(sorted(qrels)) + "\n")
    names = ("mrr", "success@1", "recall@1", "recall@5", "recall@10")
    collection = Collection(tmp_path / "prepared", task)
    order = [int(query) for query in collection.queries]
    assert [asked[place] for place in order] == list(collection.texts("queries"))
    by_vectors = search_embeddings(task, collection, encode(list(collection.texts("queries"))), encode(pool))
    expected = evaluate_split(
        EmbeddingTask(name="t", evaluation="retrieval", splits=("test",), positive_label="1"), pairs, encode
    )
    path = tmp_path / "run.trec"
    write_run(path, task, collection, by_vectors, tag="t")
    found = retrieval_metrics(names, collection.judgements, read_run(path))
    assert list(found.values()) == pytest.approx(
        [expected.metrics()["mrr" if name == "mrr" else name.replace("success@1", "accuracy@1")] for name in names]
    )


def test_bm25_ranks_passages_that_share_a_word(tmp_path: Path) -> None:
    passages = {"a": "a dog runs", "b": "a cat sleeps on a mat", "c": "Dog, dog and a dog", "d": "..."}
    task = write(tmp_path, {"q1": "a DOG", "q2": "unknown words"}, passages, "q1\tc\t1\nq2\ta\t1\n")
    collection = Collection(tmp_path / "prepared", task)
    write_run(tmp_path / "run.trec", task, collection, search_words(task, collection), tag="bm25")
    assert list(read_run(tmp_path / "run.trec")["q1"]) == ["c", "a", "b"]
    assert "q2" not in read_run(tmp_path / "run.trec")
    found = retrieval_metrics(["mrr"], collection.judgements, read_run(tmp_path / "run.trec"))
    assert found == {"mrr": 0.5}


def test_a_spoilt_run_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_text("q1 Q0 a 1\n")
    with pytest.raises(UserError, match=r"run\.trec is no run file .*: delete it and run"):
        read_run(tmp_path / "run.trec")
    with pytest.raises(UserError, match="is missing: run"):
        read_run(tmp_path / "none.trec")
