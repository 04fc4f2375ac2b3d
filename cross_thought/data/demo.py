"""The demo's text: documents whose facts can be told from other sentences only, and four tasks about them.

A document tells three facts about somebody, all three in every sentence, in random order and with a random one of two
words for each value. So a hidden word says nothing about the rest of its sentence, and the other sentences say all.
In the tasks, too, no word is worth anything by itself: what counts is which words mean the same.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from cross_thought.files import atomic_directory, atomic_file

# the words for each value of each fact; every one fits "a" before it (job) or stands in the plural (the others)
FACTS: dict[str, tuple[tuple[str, str], ...]] = {
    "job": (
        ("cook", "chef"), ("doctor", "physician"), ("lawyer", "solicitor"), ("sailor", "mariner"),
        ("teacher", "tutor"), ("driver", "chauffeur"),
    ),
    "pet": (
        ("dogs", "hounds"), ("cats", "felines"), ("rabbits", "bunnies"), ("pigs", "hogs"), ("hens", "chickens"),
        ("pigeons", "doves"),
    ),
    "place": (
        ("woods", "forests"), ("seas", "oceans"), ("ports", "harbours"), ("marshes", "swamps"),
        ("streams", "brooks"), ("taverns", "pubs"),
    ),
}  # fmt: skip
CLAUSES = {"job": "is a {}", "pet": "keeps {}", "place": "likes {}"}
SENTENCES_PER_DOCUMENT = 8
# A first sentence is one word shorter: after fairseq's `<s>`, all sentences of a document are then equally long
# segments of 12 tokens, their `</s>` included.
FIRST_SUBJECT, SUBJECT = "Someone", "This person"
SEGMENT_LENGTH = 12

TASK_SIZES = {
    "demo-match": {"train": 6000, "dev": 1000, "test": 1000},
    "demo-overlap": {"train": 6000, "dev": 1000, "test": 1000},
    "demo-job": {"train": 2000, "dev": 500, "test": 500},
    "demo-answer": {"train": 3000, "dev": 500, "test": 500},
}
_MATCH_HEADER = ("index", "sentence1", "sentence2", "label")
NUM_CANDIDATES = 4
_ANSWER_HEADER = ("index", "question", *(f"candidate{number + 1}" for number in range(NUM_CANDIDATES)), "answer")
_OVERLAP_HEADER = (
    "index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score",
)  # fmt: skip


def write_corpus(path: Path, *, num_documents: int, seed: int) -> None:
    """Write a corpus: one sentence a line, one empty line between documents; the same seed gives the same bytes."""
    generator = random.Random(f"demo corpus {seed}")
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for number in range(num_documents):
            file.write("\n" * (number > 0))
            file.writelines(f"{sentence}\n" for sentence in _document(generator))


def write_tasks(directory: Path, *, seed: int) -> None:
    """Write the tasks: train.tsv, dev.tsv and test.tsv of four, the first three in formats of GLUE.

    - `demo-match` (as QNLI): do two sentences state the same facts? Where a fact is the same, the words for it differ;
      in half of the pairs one fact is another.
    - `demo-overlap` (as STS-B): how many of the three facts are the same, scaled to 0..5; words differ as above.
    - `demo-job` (as SST-2): is the person's job one of the first three? The training sentences name every job by its
      first word, the others by its second, so the label of a word seen in training has to be carried over to the word
      that means the same.
    - `demo-answer`: which of four sentences states the same facts as the first? The four differ in one fact, and none
      has a word for a fact in common with the first.
    - `demo-find`, for embeddings without fine-tuning: a pair for each combination of facts, in pairs.tsv. The two
      sentences of a pair share no word for a fact, so that one finds the other by what words mean alone; sentences of
      other pairs do share words.

    The same seed gives the same bytes.
    """
    rows = {
        "demo-match": _match_rows,
        "demo-overlap": _overlap_rows,
        "demo-job": _job_rows,
        "demo-answer": _answer_rows,
    }
    for task, sizes in TASK_SIZES.items():
        with atomic_directory(Path(directory) / task) as partial:
            for split, size in sizes.items():
                generator = random.Random(f"{task} {split} {seed}")
                with (partial / f"{split}.tsv").open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines("\t".join(row) + "\n" for row in rows[task](split, size, generator))
    with atomic_directory(Path(directory) / "demo-find") as partial:
        generator = random.Random(f"demo-find {seed}")
        with (partial / "pairs.tsv").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines("\t".join(row) + "\n" for row in _find_rows(generator))


def _document(generator: random.Random) -> Iterator[str]:
    """Yield the sentences of a document."""
    values = _draw_values(generator)
    for number in range(SENTENCES_PER_DOCUMENT):
        subject = SUBJECT if number else FIRST_SUBJECT
        yield _sentence(subject, values, [generator.randrange(2) for _ in values], generator)


def _draw_values(generator: random.Random) -> list[int]:
    """Return a value for each fact, in the order of FACTS."""
    return [generator.randrange(len(words)) for words in FACTS.values()]


def _sentence(subject: str, values: Sequence[int], choices: Sequence[int], generator: random.Random) -> str:
    """State all facts in random order: of each the value's number, and which of its two words is used."""
    clauses = [
        CLAUSES[fact].format(words[value][choice])
        for (fact, words), value, choice in zip(FACTS.items(), values, choices, strict=True)
    ]
    generator.shuffle(clauses)
    return f"{subject} {clauses[0]}, {clauses[1]} and {clauses[2]}"


def _pair(num_different: int, generator: random.Random) -> tuple[str, str]:
    """Return two sentences of which `num_different` facts differ; no fact is stated in the same word twice."""
    first = _draw_values(generator)
    second = list(first)
    for fact in generator.sample(range(len(first)), num_different):
        others = [value for value in range(len(list(FACTS.values())[fact])) if value != first[fact]]
        second[fact] = generator.choice(others)
    return _in_other_words(first, second, generator)


def _in_other_words(first: Sequence[int], second: Sequence[int], generator: random.Random) -> tuple[str, str]:
    """State facts in one sentence and facts in another, which takes the other word of each value."""
    choices = [generator.randrange(2) for _ in first]
    other_choices = [1 - choice for choice in choices]
    return (_sentence(SUBJECT, first, choices, generator), _sentence(SUBJECT, second, other_choices, generator))


def _match_rows(split: str, size: int, generator: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a `demo-match` file, each as its fields; the test file has no labels."""
    num_fields = 3 if split == "test" else 4
    yield _MATCH_HEADER[:num_fields]
    for index in range(size):
        num_different = generator.randrange(2)
        label = "not_entailment" if num_different else "entailment"
        yield (str(index), *_pair(num_different, generator), label)[:num_fields]


def _overlap_rows(split: str, size: int, generator: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a `demo-overlap` file, each as its fields; the test file has no scores."""
    num_fields = 9 if split == "test" else 10
    yield _OVERLAP_HEADER[:num_fields]
    for index in range(size):
        num_different = generator.randrange(len(FACTS) + 1)
        score = 5 * (len(FACTS) - num_different) / len(FACTS)
        fields = ("demo", "demo", "none", str(index), "none", "none")
        yield (str(index), *fields, *_pair(num_different, generator), f"{score:.3f}")[:num_fields]


def _job_rows(split: str, size: int, generator: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a `demo-job` file, each as its fields; the test file has an index in place of labels."""
    yield ("index", "sentence") if split == "test" else ("sentence", "label")
    for index in range(size):
        values = _draw_values(generator)
        choices = [int(split != "train"), *(generator.randrange(2) for _ in values[1:])]
        sentence = _sentence(SUBJECT, values, choices, generator)
        label = str(int(values[0] < len(FACTS["job"]) // 2))
        yield (str(index), sentence) if split == "test" else (sentence, label)


def _find_rows(generator: random.Random) -> Iterator[tuple[str, str]]:
    """Yield the lines of the `demo-find` file, each as its fields."""
    yield ("sentence1", "sentence2")
    for values in itertools.product(*(range(len(words)) for words in FACTS.values())):
        yield _in_other_words(values, values, generator)


def _answer_rows(split: str, size: int, generator: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a `demo-answer` file, each as its fields; the test file has no answers.

    The candidates differ from each other in the same fact, so that they tell nothing without the question.
    """
    num_fields = len(_ANSWER_HEADER) - (split == "test")
    yield _ANSWER_HEADER[:num_fields]
    for index in range(size):
        values = _draw_values(generator)
        choices = [generator.randrange(2) for _ in values]
        other_choices = [1 - choice for choice in choices]
        fact = generator.randrange(len(values))
        others = [value for value in range(len(list(FACTS.values())[fact])) if value != values[fact]]
        candidates = [values[fact], *generator.sample(others, NUM_CANDIDATES - 1)]
        generator.shuffle(candidates)
        sentences = [
            _sentence(SUBJECT, [*values[:fact], value, *values[fact + 1 :]], other_choices, generator)
            for value in candidates
        ]
        answer = str(candidates.index(values[fact]) + 1)
        yield (str(index), _sentence(SUBJECT, values, choices, generator), *sentences, answer)[:num_fields]
