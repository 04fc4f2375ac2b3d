"""A task in one plain format, and what was left out of it: files and a summary.

A file has a header line, then `label`, `sentence1`, `sentence2`, ..., by tabs. A folder has `train.tsv`, `valid.tsv`,
..., and `summary.json` with what became of the raw files' rows.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cross_thought.files import read_lines

SUMMARY = "summary.json"
NONE_RIGHT = "0"  # the label of a question of whose candidates none is right
# what the summary calls them
NO_RIGHT = "questions without a right candidate"
CUT, ADDED = "candidates left out", "candidates of other questions added"
SHORT = "questions with fewer candidates than num_candidates, for there are no others to add"


class Example(NamedTuple):
    """A row of a task: the label as text (empty where unknown), and its sentences.

    In answer selection, the numbers of the right candidates, from 1, as `2` or `1 4`, `NONE_RIGHT` where there is none;
    the question, and its candidates, "" where it has fewer than others.
    """

    label: str
    sentences: tuple[str, ...]


def write_prepared(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as a prepared file."""
    columns = ["label", *(f"sentence{number + 1}" for number in range(len(examples[0].sentences)))]
    with open(path, "w", encoding="utf-8", newline="\n") as handle:
        handle.write("\t".join(columns) + "\n")
        handle.writelines("\t".join((example.label, *example.sentences)) + "\n" for example in examples)


def read_prepared(path: Path) -> Iterator[Example]:
    """Yield the examples of a prepared file."""
    lines = read_lines(path)
    next(lines)
    for line in lines:
        label, *sentences = line.split("\t")
        yield Example(label, tuple(sentences))


def read_summary(folder: Path) -> dict[str, Any]:
    """Return what became of the rows of each split of a prepared task; {} where no summary was written."""
    try:
        return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def count_sentences(folder: Path) -> int:
    """Return how many sentences an example of a prepared task has, in answer selection those of the question, too."""
    header = next(read_lines(next(folder.glob("*.tsv"))))
    return len(header.split("\t")) - 1


def read_counts(prepared: Path, binarized: Path) -> Mapping[str, Mapping[str, int]] | None:
    """Return how many examples of a prepared and binarized task were used, cut and left out, for `metrics.json`.

    Returns:
        Of train the examples `available` and `used`; of every other split the `examples` and those `dropped`; of all
        of them the sentences `cut` at the positions, and the cells that seem `quoted`. If there are any: the questions
        `unanswered`, without a right candidate, the examples that are `in_train`, too, those with an `empty` sentence,
        and those `unlabelled` in the label's column; the labels that no example has (`labels_without`); the
        `candidates_cut` and `candidates_added`, and questions that are still `questions_short` of them; the `tokens`
        that are `unknown` to the vocabulary, beside all `tokens`. None where no summary was written.
    """
    summary, cut = read_summary(prepared), read_summary(binarized)
    if not summary or not cut:
        return None
    counts = {}
    for split, rows in summary.items():
        dropped = sum(rows["dropped"].values())
        sizes = {"available": rows["examples"] + dropped, "used": rows["used"]}
        if split != "train":
            sizes = {"examples": rows["used"], "dropped": dropped}
        questions = rows.get("questions", {})
        odd = {"unanswered": questions.get(NO_RIGHT), "candidates_cut": questions.get(CUT)}
        odd |= {"candidates_added": questions.get(ADDED), "questions_short": questions.get(SHORT)}
        odd |= {key: rows.get(key) for key in ("in_train", "empty", "unlabelled", "labels_without")}
        sizes |= {key: number for key, number in odd.items() if number}
        read = {key: value for key, value in cut[split].items() if key in ("cut", "tokens", "unknown")}
        counts[split] = sizes | read | {"quoted": rows["quoted"]}
    return counts
