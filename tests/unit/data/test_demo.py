"""The demo's generator: what the corpus and the tasks promise."""

import re
from collections import Counter
from pathlib import Path

import pytest

from cross_thought.data.demo import (
    FACTS,
    FIRST_SUBJECT,
    SEGMENT_LENGTH,
    SENTENCES_PER_DOCUMENT,
    SUBJECT,
    TASK_SIZES,
    write_corpus,
    write_tasks,
)
from cross_thought.data.glue import prepare_task
from cross_thought.data.raw_files import raw_files
from cross_thought.data.tasks import TASKS

VALUE_OF = {
    word: (fact, number) for fact, values in FACTS.items() for number, words in enumerate(values) for word in words
}


def symbols_of(sentence: str) -> list[str]:
    """Cut a sentence into words and commas, as byte-level BPE does before it merges anything."""
    return re.findall(r"\w+|,", sentence)


def facts_of(sentence: str) -> dict[str, tuple[int, str]]:
    """Return value and word of each fact of a sentence."""
    found = [(VALUE_OF[word], word) for word in symbols_of(sentence) if word in VALUE_OF]
    facts = {fact: (value, word) for (fact, value), word in found}
    assert len(found) == len(facts) == len(FACTS)
    return facts


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a TSV file as dicts."""
    header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated tasks."""
    directory = tmp_path_factory.mktemp("tasks")
    write_tasks(directory, seed=1)
    return directory


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """A generated corpus, document by document."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    write_corpus(path, num_documents=300, seed=1)
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    return [document.split("\n") for document in text.removesuffix("\n").split("\n\n")]


def test_words_are_unambiguous() -> None:
    words = [word for values in FACTS.values() for pair in values for word in pair]
    assert len(words) == len(set(words)) == 36
    assert all(word.isalpha() and word[0] not in "aeiou" for pair in FACTS["job"] for word in pair)


def test_a_document_states_its_facts_in_every_sentence(documents: list[list[str]]) -> None:
    assert len(documents) == 300
    for document in documents:
        assert len(document) == SENTENCES_PER_DOCUMENT
        values = [{fact: value for fact, (value, _) in facts_of(sentence).items()} for sentence in document]
        assert all(value == values[0] for value in values)
        assert [sentence.startswith(f"{FIRST_SUBJECT} ") for sentence in document] == [True] + [False] * 7
        assert all(sentence.startswith(f"{SUBJECT} ") for sentence in document[1:])


def test_a_document_fills_whole_segments(documents: list[list[str]]) -> None:
    for document in documents:
        lengths = [len(symbols_of(sentence)) + 1 for sentence in document]  # with `</s>`
        lengths[0] += 1  # fairseq's `<s>`
        assert lengths == [SEGMENT_LENGTH] * SENTENCES_PER_DOCUMENT


def test_a_sentence_tells_nothing_about_its_own_words(documents: list[list[str]]) -> None:
    words = Counter(word for document in documents for sentence in document for word in symbols_of(sentence))
    for values in FACTS.values():
        for first, second in values:
            assert 0.75 < words[first] / words[second] < 1.33
    orders = Counter(tuple(facts_of(sentence)) for document in documents for sentence in document)
    assert len(orders) == 6
    assert min(orders.values()) > 300


def test_same_seed_same_bytes(tmp_path: Path, tasks: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, num_documents=5, seed=seed)
    first, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == same != other
    write_tasks(tmp_path / "tasks", seed=1)
    for path in tasks.rglob("*.tsv"):
        assert (tmp_path / "tasks" / path.relative_to(tasks)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("task", TASK_SIZES)
def test_the_readers_take_the_files(task: str, tasks: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "demo").symlink_to(tasks, target_is_directory=True)
    files = raw_files(TASKS[task], data_dir=None, downloads_dir=str(downloads))
    counts = prepare_task(TASKS[task], files, tmp_path / "prepared")
    sizes = TASK_SIZES[task]
    assert counts == {"train": sizes["train"], "valid": sizes["dev"], "test": sizes["test"]}


def test_match_pairs(tasks: Path) -> None:
    rows = read_rows(tasks / "demo-match" / "train.tsv")
    for row in rows:
        first, second = facts_of(row["sentence1"]), facts_of(row["sentence2"])
        num_different = sum(first[fact][0] != second[fact][0] for fact in FACTS)
        assert num_different == (row["label"] == "not_entailment")
        assert all(first[fact][1] != second[fact][1] for fact in FACTS)
    labels = Counter(row["label"] for row in rows)
    assert 0.9 < labels["entailment"] / labels["not_entailment"] < 1.1


def test_pairs_to_find(tasks: Path) -> None:
    rows = read_rows(tasks / "demo-find" / "pairs.tsv")
    facts = [tuple(facts_of(row[name]) for name in ("sentence1", "sentence2")) for row in rows]
    assert all(first[fact][0] == second[fact][0] for first, second in facts for fact in FACTS)
    assert all(first[fact][1] != second[fact][1] for first, second in facts for fact in FACTS)
    assert len({tuple(first[fact][0] for fact in FACTS) for first, _ in facts}) == len(rows) == 6**3


def test_match_labels_are_not_read_off_a_word(tasks: Path) -> None:
    rows = read_rows(tasks / "demo-match" / "train.tsv")
    counts = Counter(
        (word, row["label"])
        for row in rows
        for name in ("sentence1", "sentence2")
        for _, word in facts_of(row[name]).values()
    )
    for word in VALUE_OF:
        same, different = counts[word, "entailment"], counts[word, "not_entailment"]
        assert 0.42 < same / (same + different) < 0.58


def test_overlap_scores(tasks: Path) -> None:
    rows = read_rows(tasks / "demo-overlap" / "dev.tsv")
    for row in rows:
        first, second = facts_of(row["sentence1"]), facts_of(row["sentence2"])
        num_same = sum(first[fact][0] == second[fact][0] for fact in FACTS)
        assert float(row["score"]) == pytest.approx(5 * num_same / 3, abs=1e-3)
        assert all(first[fact][1] != second[fact][1] for fact in FACTS)
    assert len({row["score"] for row in rows}) == 4


def test_job_words_of_training_and_dev_differ(tasks: Path) -> None:
    for split, choice in (("train", 0), ("dev", 1)):
        for row in read_rows(tasks / "demo-job" / f"{split}.tsv"):
            value, word = facts_of(row["sentence"])["job"]
            assert word == FACTS["job"][value][choice]
            assert row["label"] == str(int(value < 3))


def test_candidates_differ_in_one_fact_and_in_all_words_from_the_question(tasks: Path) -> None:
    rows = read_rows(tasks / "demo-answer" / "train.tsv")
    for row in rows:
        question = facts_of(row["question"])
        candidates = [facts_of(row[f"candidate{number}"]) for number in range(1, 5)]
        differing = [fact for fact in FACTS if len({candidate[fact][0] for candidate in candidates}) > 1]
        assert len(differing) == 1
        assert len({candidate[differing[0]][0] for candidate in candidates}) == 4
        right = candidates[int(row["answer"]) - 1]
        assert all(question[fact][0] == right[fact][0] for fact in FACTS)
        assert not {word for _, word in question.values()} & {
            word for candidate in candidates for _, word in candidate.values()
        }
    counts = Counter(row["answer"] for row in rows)
    assert set(counts) == {"1", "2", "3", "4"}
    assert max(counts.values()) < 0.28 * len(rows)


def test_test_files_hide_the_labels(tasks: Path) -> None:
    hidden_columns = {"demo-match": "label", "demo-overlap": "score", "demo-job": "label", "demo-answer": "answer"}
    for task, hidden in hidden_columns.items():
        rows = read_rows(tasks / task / "test.tsv")
        assert len(rows) == TASK_SIZES[task]["test"]
        assert hidden not in rows[0]
