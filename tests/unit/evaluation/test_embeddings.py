"""Similarity and retrieval with embeddings as they are: by hand, against brute force and against trec_eval."""

import itertools
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from scipy import stats

from cross_thought.data.definitions import EmbeddingTask
from cross_thought.data.embedding_tasks import embedding_task_from_config
from cross_thought.data.prepared import Example, write_prepared
from cross_thought.errors import UserError
from cross_thought.evaluation import embeddings
from cross_thought.evaluation.embeddings import (
    PartedSimilarities,
    Rankings,
    Similarities,
    by_bm25,
    embeddings_document,
    evaluate_split,
    evaluate_words,
    rank_right,
    read_pairs,
    tf_idf,
    write_pairs,
)
from cross_thought.files import write_json

STS = EmbeddingTask(name="STS-B", evaluation="similarity", splits=("valid",))
MRPC = EmbeddingTask(name="MRPC", evaluation="retrieval", splits=("valid",), positive_label="1")


def encoder(vectors: dict[str, list[float]]):
    """Return an encoder that looks its sentences up."""
    return lambda sentences: np.asarray([vectors[sentence] for sentence in sentences], dtype=np.float32)


def test_similarity_is_the_correlation_of_cosines_with_scores() -> None:
    vectors = {"a": [1, 0], "b": [2, 0], "c": [1, 1], "d": [0, 3], "e": [-1, 0]}
    rows = [("5", "b"), ("2", "c"), ("1", "d"), ("3", "e")]
    found = evaluate_split(STS, [Example(score, ("a", other)) for score, other in rows], encoder(vectors))
    np.testing.assert_allclose(found.cosine, [1, 0.5**0.5, 0, -1], atol=1e-7)
    assert found.score == [5, 2, 1, 3]
    # ranks 4, 2, 1, 3 of the scores against 4, 3, 2, 1 of the cosines: 1 - 6 * 6 / 60
    assert found.metrics()["spearman"] == pytest.approx(0.4)
    assert found.metrics()["pearson"] == pytest.approx(np.corrcoef([5, 2, 1, 3], [1, 0.5**0.5, 0, -1])[0, 1])
    assert (found.chance(), found.sizes()) == ({"spearman": 0, "pearson": 0}, {"num_examples": 4})


def test_a_year_of_sts_is_scored_over_all_its_pairs_and_as_the_mean_of_its_parts(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    scores, sizes = generator.uniform(0, 5, 90), {"a": 30, "b": 50, "c": 10}
    # each part is ordered alike, at a level of its own
    levels = np.repeat([0.0, 3.0, -3.0], list(sizes.values()))
    angles = {
        f"s{row}": 1.5 - 0.1 * (score + level) for row, (score, level) in enumerate(zip(scores, levels, strict=True))
    }
    vectors = {"q": [1.0, 0.0]} | {name: [np.cos(angle), np.sin(angle)] for name, angle in angles.items()}
    examples = [Example(str(score), ("q", f"s{row}")) for row, score in enumerate(scores)]
    lines = ["label\tsentence1\tsentence2", *("\t".join((label, *pair)) for label, pair in examples)]
    (tmp_path / "test.tsv").write_text("\n".join(lines) + "\n")
    write_json(tmp_path / "summary.json", {"test": {"parts": sizes, "dropped": {"without a label or score": 7}}})
    task = EmbeddingTask(name="STS12", evaluation="similarity", splits=("test",), has_parts=True)
    pairs, counts = embeddings.evaluate_task(task, tmp_path, encoder(vectors))
    assert counts["test"] == {"sentences": 91, "cut": 0, "pairs": 97, "dropped": 7}

    # SentEval's way, part by part and all together
    cosines = np.cos(list(angles.values()))
    bounds = np.cumsum([0, *sizes.values()])
    of_parts = [stats.spearmanr(cosines[a:b], scores[a:b]).statistic for a, b in itertools.pairwise(bounds)]
    found = pairs["test"].metrics()
    assert found["spearman"] == pytest.approx(stats.spearmanr(cosines, scores).statistic, abs=1e-4)
    assert found["spearman_mean"] == pytest.approx(np.mean(of_parts)) == pytest.approx(1)
    assert found["spearman"] < 0.7
    assert set(found) == set(pairs["test"].chance()) == set(task.metrics)
    write_pairs(tmp_path / "pairs.tsv", pairs)
    assert read_pairs(tmp_path / "pairs.tsv") == pairs
    # a part whose scores are all the same has no correlation, and then there is no mean
    assert (
        PartedSimilarities([0, 1, 2, 3], [1, 2, 3, 3], [0.1, 0.2, 0.3, 0.4], ["a", "a", "b", "b"]).metrics()[
            "spearman_mean"
        ]
        is None
    )


def test_equal_scores_or_cosines_have_no_correlation() -> None:
    for scores, cosines in (([1.0, 1.0], [0.1, 0.2]), ([1.0, 2.0], [0.5, 0.5]), ([1.0], [0.5])):
        assert Similarities(list(range(len(scores))), scores, cosines).metrics() == {"spearman": None, "pearson": None}


def test_retrieval_by_hand() -> None:
    vectors = {"q1": [1, 0], "q2": [0, 1], "x": [1, 0.1], "y": [1, 1], "z": [0.1, 1], "w": [-1, 0]}
    examples = [
        Example("1", ("q1", "x")),
        Example("1", ("q1", "w")),
        Example("0", ("q1", "z")),
        Example("1", (" q2 ", "y")),
        Example("1", ("q2", "y")),  # the same pair again
    ]
    found = evaluate_split(MRPC, examples, encoder(vectors))
    assert found == Rankings(
        row=[0, 1, 3],
        query=[0, 0, 3],
        candidates=[4, 4, 4],
        rank=[1, 4, 2],
        cosine=pytest.approx([0.995037, -1, 0.707107]),
    )
    assert found.metrics() == pytest.approx(
        {"accuracy@1": 0.5, "mrr": 0.75, "recall@1": 0.25, "recall@5": 1, "recall@10": 1}
    )
    # of 4 candidates 2 are right for q1: the first right one is 1st, 2nd, 3rd in 1/2, 1/3, 1/6 of the orders
    assert found.chance() == pytest.approx(
        {
            "accuracy@1": (1 / 2 + 1 / 4) / 2,
            "mrr": (1 / 2 + 1 / 6 + 1 / 18 + (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4) / 2,
            "recall@1": 1 / 4,
            "recall@5": 1,
            "recall@10": 1,
        }
    )
    assert found.sizes() == {"num_examples": 3, "num_queries": 2, "num_candidates": 4}


def test_ties_go_against_the_encoder_and_a_sentence_does_not_find_itself() -> None:
    assert rank_right(np.asarray([0.5, 0.5, 0.5, 0.1, 0.9]), [3, 1]) == [5, 4]
    assert rank_right(np.asarray([0.5, 0.5, 0.5, 0.1, 0.9]), [3, 1], left_out=4) == [4, 3]
    assert rank_right(np.asarray([0.5, 0.5]), [1, 0]) == [2, 1]
    # "q" is its own best match, and it stands in the pool; and a pair of twice the same sentence asks nothing
    examples = [Example("1", ("q", "x")), Example("0", ("p", "q")), Example("1", ("p", "p"))]
    found = evaluate_split(MRPC, examples, encoder({"q": [1, 0], "x": [1, 1], "p": [0, 1]}))
    assert (found.rank, found.candidates, found.row) == ([1], [2], [0])


def random_pairs(generator: random.Random) -> list[Example]:
    """Return pairs in which sentences come back, on both sides."""
    sentences = [f"s{number}" for number in range(60)]
    return [Example(generator.choice("01"), tuple(generator.choices(sentences, k=2))) for _ in range(200)]


@pytest.mark.parametrize("block", [1, 7 * 60, 1 << 24])
def test_retrieval_agrees_with_trec_eval(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BLOCK_NUMBERS", block)
    generator = np.random.default_rng(3)
    vectors = {f"s{number}": generator.normal(size=5).tolist() for number in range(60)}
    examples = random_pairs(random.Random(3))
    found = evaluate_split(MRPC, examples, encoder(vectors))

    pool = {second for _, (_, second) in examples}
    judged: dict[str, dict[str, int]] = {}
    for label, (first, second) in examples:
        if label == "1" and first != second:
            judged.setdefault(first, {})[second] = 1

    def cosine(left: str, right: str) -> float:
        one, other = np.asarray(vectors[left]), np.asarray(vectors[right])
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    run = {query: {name: cosine(query, name) for name in pool if name != query} for query in judged}
    measures = {"accuracy@1": "success_1", "mrr": "recip_rank", **{f"recall@{k}": f"recall_{k}" for k in (1, 5, 10)}}
    scored = pytrec_eval.RelevanceEvaluator(judged, set(measures.values())).evaluate(run)
    assert len(scored) == found.sizes()["num_queries"]
    expected = {name: np.mean([query[theirs] for query in scored.values()]) for name, theirs in measures.items()}
    assert found.metrics() == pytest.approx(expected)


def test_chance_is_what_random_embeddings_reach() -> None:
    generator = np.random.default_rng(1)
    examples = random_pairs(random.Random(1))
    runs = []
    for _ in range(150):
        vectors = {f"s{number}": generator.normal(size=3).tolist() for number in range(60)}
        runs.append(evaluate_split(MRPC, examples, encoder(vectors)))
    for name, chance in runs[0].chance().items():
        reached = [run.metrics()[name] for run in runs]
        assert abs(np.mean(reached) - chance) < 4 * stats.sem(reached), name


def test_tf_idf_knows_words_and_nothing_else() -> None:
    examples = [
        Example("5", ("The cat sat.", "the cat sat")),
        Example("2", ("the cat sat", "the dog sat")),
        Example("0", ("the cat sat", "physicians agree")),
        Example("1", ("the cat sat", "...")),
    ]
    found = evaluate_split(STS, examples, tf_idf)
    assert found.cosine[0] == pytest.approx(1)
    assert 0 < found.cosine[1] < 1
    assert found.cosine[2:] == [0, 0]
    assert evaluate_split(STS, [Example("1", ("...", "!"))] * 2, tf_idf).cosine == [0, 0]
    found = evaluate_split(MRPC, [Example("1", example.sentences) for example in examples], tf_idf)
    assert (found.rank, found.candidates) == ([1, 1, 2, 3], [4, 3, 3, 3])


def test_pairs_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    for pairs in (
        {"valid": Similarities([0, 1], [2.5, 1.0], [1 / 3, -1e-9]), "test": Similarities([0], [0.0], [0.0])},
        {"valid": Rankings([0, 4], [0, 0], [9, 9], [1, 3], [0.123457, -0.5])},
    ):
        write_pairs(path, pairs)
        assert read_pairs(path) == pairs
    path.write_text("split\tpairs\n")
    with pytest.raises(
        UserError, match=r"is no file of scored pairs \(its columns are split, pairs\): delete it and run"
    ):
        read_pairs(path)
    with pytest.raises(UserError, match="is missing: run"):
        read_pairs(tmp_path / "none.tsv")


def test_what_cannot_be_evaluated_is_said() -> None:
    vectors = {"a": [1, 0], "b": [float("nan"), 0]}
    with pytest.raises(UserError, match="the embedding of 'b' is not finite"):
        evaluate_split(STS, [Example("1", ("a", "b"))], encoder(vectors))
    with pytest.raises(UserError, match="MRPC has no pair of two sentences with the label '1'"):
        evaluate_split(MRPC, [Example("0", ("a", "b"))], encoder(vectors))


def test_the_document_has_each_split(tmp_path: Path) -> None:
    pairs = {"valid": Rankings([0], [0], [10], [2], [0.5])}
    document = embeddings_document(model="mlm", task=MRPC, seed=3, pooling="mean", pairs=pairs)
    assert document["splits"]["valid"]["metrics"]["mrr"] == 0.5
    assert document["splits"]["valid"]["chance"]["recall@5"] == 0.5
    assert (document["evaluation"], document["splits"]["valid"]["num_queries"]) == ("retrieval", 1)


OWN = {"files": {"valid": "b.tsv", "test": "c.tsv"}, "input_columns": [1, 2]}


def task_of(name: str, entry: dict, tasks: dict | None = None) -> EmbeddingTask:
    """Return the task that a config describes."""
    return embedding_task_from_config(name, {"embedding_tasks": {name: entry}, "tasks": tasks or {}})


def test_labels_decide_what_is_evaluated() -> None:
    assert task_of("STS-B", {}) == STS
    assert task_of("MRPC", {}) == MRPC
    assert task_of("QNLI", {}).positive_label == "entailment"
    assert task_of("SNLI", {}).splits == ("valid", "test")
    assert task_of("SNLI", {"positive_label": "contradiction"}).positive_label == "contradiction"
    assert task_of("MNLI", {}).splits == ("valid", "valid1")
    assert task_of("demo-overlap", {}).evaluation == "similarity"
    assert task_of("demo-find", {}) == EmbeddingTask(name="demo-find", evaluation="retrieval", splits=("valid",))
    pairs = task_of("mine", OWN)
    assert (pairs.evaluation, pairs.positive_label, pairs.splits) == ("retrieval", None, ("valid", "test"))
    scored = task_of("mine", OWN | {"label_column": 3})
    assert (scored.evaluation, scored.splits) == ("similarity", ("valid", "test"))
    labelled = task_of("mine", OWN | {"label_column": 3, "labels": ["no", "yes"], "positive_label": "yes"})
    assert (labelled.evaluation, labelled.positive_label) == ("retrieval", "yes")


def test_a_task_that_is_fine_tuned_on_as_well_has_its_files_there() -> None:
    entry = {"files": {"train": "a.tsv", "valid": "b.tsv"}, "input_columns": [1, 2], "label_column": 3}
    task = task_of("mine", {}, {"mine": entry})
    assert (task.evaluation, task.splits) == ("similarity", ("valid",))


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("STS", {}, "embedding_tasks.STS is unknown: choose from CoLA"),
        ("SST-2", {}, "embedding_tasks.SST-2 has single sentences"),
        ("STS-B", {"positive_label": "5"}, "embedding_tasks.STS-B.positive_label is '5', but the task has no labels"),
        ("MRPC", {"positive_label": "yes"}, "embedding_tasks.MRPC.positive_label is 'yes': choose from 0, 1"),
        ("MRPC", {"header": True}, "embedding_tasks.MRPC.header belongs to a task of your own"),
        ("mine", OWN | {"labels": ["a", "b"], "label_column": 3}, "mine.positive_label is None: choose from a, b"),
        ("mine", OWN | {"labels": ["a", "b"]}, "mine.labels is set without `label_column`: name the column"),
        ("mine", OWN | {"input_columns": []}, "embedding_tasks.mine.input_columns is missing"),
    ],
)
def test_what_contradicts_itself_is_refused(name: str, entry: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        task_of(name, entry)


def test_the_sentences_of_each_split_are_counted(tmp_path: Path) -> None:
    lines = {"valid": ["1.0\tlong long long\tb", "2.0\tb\tc", "0.5\tb\td"], "test": ["4.0\te\tf", "1.0\te\tg"]}
    for split, rows in lines.items():
        (tmp_path / f"{split}.tsv").write_text("\n".join(["label\tsentence1\tsentence2", *rows]) + "\n")
    read = {"cut": 0, "tokens": 0, "unknown": 0}

    def encode(sentences: list[str]) -> np.ndarray:
        read["cut"] += sum(len(sentence) > 5 for sentence in sentences)
        read["tokens"] += 2 * len(sentences)
        read["unknown"] += sum("c" in sentence for sentence in sentences)
        return np.random.default_rng(0).normal(size=(len(sentences), 3))

    task = EmbeddingTask(name="t", evaluation="similarity", splits=("valid", "test"))
    pairs, counts = embeddings.evaluate_task(task, tmp_path, encode, tally=lambda: Counter(read))
    assert counts == {
        "valid": {"sentences": 4, "cut": 1, "tokens": 8, "unknown": 1},
        "test": {"sentences": 3, "cut": 0},
    }
    document = embeddings_document(model="m", task=task, seed=1, pooling="mean", pairs=pairs, counts=counts)
    assert document["counts"] == counts


def test_bm25_ranks_by_rare_words_and_takes_any_text() -> None:
    pool = ["a dog runs", "a cat sleeps on a mat", "Dog, dog and a dog", "..."]
    scores = list(by_bm25(["A DOG", "a cat", "unknown words", ""], pool))
    assert [list(np.argsort(-row, kind="stable")[:2]) for row in scores[:2]] == [[2, 0], [1, 0]]
    assert scores[0][0] > scores[0][1] > scores[0][3] == 0  # the dog is rarer than the article
    assert not np.any(scores[2:])
    assert not np.any(list(by_bm25(["a dog"], ["!", "?"])))


def test_what_needs_no_training_is_scored_as_embeddings_are(tmp_path: Path) -> None:
    pairs = [("1", "a man walks", "the man walks along"), ("0", "a dog", "a tree"), ("1", "a red car", "one red car")]
    write_prepared(tmp_path / "valid.tsv", [Example(label, pair) for label, *pair in pairs])
    found = evaluate_words(MRPC, tmp_path)
    assert list(found) == ["tf-idf", "bm25"]
    assert found["bm25"]["valid"].rank == found["tf-idf"]["valid"].rank == [1, 1]
    assert found["bm25"]["valid"].candidates == [3, 3]
    write_prepared(tmp_path / "valid.tsv", [Example("1.0", ("a dog", "a cat")), Example("5.0", ("a dog", "a dog"))])
    assert list(evaluate_words(STS, tmp_path)) == ["tf-idf"]
