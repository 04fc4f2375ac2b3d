"""From rows of a file to questions with candidate answers.

Data are taken as they are: several right candidates or none, one candidate alone, the same text twice. What nobody
could use, an empty question or candidate, is refused, or left out where the task says so.
"""

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cross_thought.data.definitions import AnswerSelection
from cross_thought.data.prepared import ADDED, CUT, NO_RIGHT, NONE_RIGHT, SHORT, Example
from cross_thought.data.task_rows import TaskRow
from cross_thought.errors import UserError

logger = logging.getLogger(__name__)

CANDIDATE_SEED = 1

# keys of a split's summary beside NO_RIGHT: why questions are left out, and what is worth knowing of the others
UNFIT = "questions unfit"
SEVERAL_RIGHT, ALL_RIGHT = "questions with several right candidates", "questions with right candidates alone"
REPEATED = "questions with a candidate twice"


class _Question(NamedTuple):
    """A question, with the place of its first row, candidates, who is right (None: unknown), what is wrong with it."""

    place: str
    text: str
    candidates: Sequence[str]
    right: frozenset[int] | None
    fault: str | None


class Found(NamedTuple):
    """Questions with candidates, how many others were left out and why, and what is worth knowing of them."""

    examples: list[Example]
    dropped: Counter[str]
    notes: Counter[str]


def questions_of(rows: Sequence[TaskRow], *, task: str, selection: AnswerSelection, split: str) -> Found:
    """Make questions of a split's rows, all with a label or all without.

    ASSUME: where a row is a candidate, a question's candidates are put in a random order, always the same one of a task
    and split, so that a model that finds them all alike gets no help from the file's order.

    Returns:
        The questions in the order of their first rows. Those without a right candidate are left out of train, and
        where candidates of other questions are added; elsewhere their label is `NONE_RIGHT`.

    Raises:
        UserError: for a question or a candidate that is empty, two questions of one id, or more candidates than
            `num_candidates`, unless the task leaves such questions out; and if no question has a right candidate.
    """
    by_rows = selection.right_label is not None
    questions = _gathered(rows, selection) if by_rows else [_in_a_row(row) for row in rows]
    faults = [question.fault for question in questions if question.fault]
    if faults and not selection.drop_unusable:
        raise UserError(
            f"{faults[0]}; or set tasks.{task}.drop_unusable to true to leave out what is unfit, "
            f"{len(faults)} of {len(questions)} questions"
        )
    usable = [question for question in questions if not question.fault]
    if usable and all(question.right == frozenset() for question in usable):
        labels = "the labels, or right_label" if by_rows else "the labels"
        raise UserError(f"{usable[0].place}: from here on, no question has a right candidate; mend {labels}")
    dropped = Counter({UNFIT: len(faults)})
    if split == "train" or selection.fill:
        without = [question for question in usable if question.right == frozenset()]
        usable = [question for question in usable if question.right != frozenset()]
        dropped[NO_RIGHT] = len(without)
    notes = Counter(note for question in usable for note in _notes(question))
    if by_rows:
        # those that were left out lend theirs as well, but for the empty one that some were left out for
        texts = (text for question in questions for text in question.candidates if text)
        pool = list(dict.fromkeys(texts)) if selection.fill else []
        generator = random.Random(f"{task} {split} candidates {CANDIDATE_SEED}")
        examples = [_shuffled(question, selection, pool, generator, notes) for question in usable]
    else:
        examples = [Example(_label(question.right), (question.text, *question.candidates)) for question in usable]
    counts = "".join(f"; {count} {what}" for what, count in notes.items() if count)
    counts += "".join(f"; {count} {why}, left out" for why, count in dropped.items() if count)
    logger.info("%s %s: %d questions%s", task, split, len(examples), counts)
    return Found(examples, +dropped, +notes)


def _in_a_row(row: TaskRow) -> _Question:
    """Return the question of a row with all its candidates, whose label has the numbers of the right ones."""
    question, *candidates = row.sentences
    right = frozenset(int(number) - 1 for number in row.label.split() if number != NONE_RIGHT)
    are_there = [bool(candidate.strip()) for candidate in candidates]
    fault = None
    if not question.strip():
        fault = f"{row.place}: the question is empty; fill it in or take the row out"
    elif not any(are_there):
        fault = f"{row.place}: no candidates; give one or more, or take the row out"
    elif lacking := [place + 1 for place in sorted(right) if not are_there[place]]:
        fault = f"{row.place}: candidate {lacking[0]}, the right one, is empty; mend the row"
    return _Question(row.place, question, candidates, right if row.label else None, fault)


def _gathered(rows: Sequence[TaskRow], selection: AnswerSelection) -> list[_Question]:
    """Gather the rows of each question, wherever they stand; space around a text does not count."""
    groups: dict[str, list[TaskRow]] = {}
    for row in rows:
        stripped = row._replace(sentences=tuple(text.strip() for text in row.sentences))
        groups.setdefault(row.question_id or stripped.sentences[0], []).append(stripped)
    most = max(map(len, groups.values()), default=0)
    questions = []
    for group in groups.values():
        right = frozenset(place for place, row in enumerate(group) if row.label == selection.right_label)
        questions.append(
            _Question(
                group[0].place,
                group[0].sentences[0],
                [row.sentences[1] for row in group],
                right if group[0].label else None,
                _fault(group, selection, most=most),
            )
        )
    return questions


def _fault(group: Sequence[TaskRow], selection: AnswerSelection, *, most: int) -> str | None:
    """Say what is wrong with a question's rows, starting with the file and the line."""
    first, limit = group[0], selection.num_candidates
    if not first.sentences[0]:
        return f"{first.place}: the question is empty; fill it in or take the row out"
    for row in group:
        if row.sentences[0] != first.sentences[0]:
            return (
                f"{row.place}: another question under the id {row.question_id!r} than in {_near(first, row)}; mend "
                "either, or leave out question_id_column to tell questions by their text"
            )
        if not row.sentences[1]:
            return f"{row.place}: the candidate is empty; fill it in or take the row out"
    if limit is not None and len(group) > limit and not selection.drop_unusable:
        return (
            f"{group[limit].place}: the question has {len(group)} candidates, more than num_candidates {limit}; leave "
            f"that out, or raise it to {most}, the most of any"
        )
    return None


def _near(row: TaskRow, other: TaskRow) -> str:
    """Name the place of a row, where that of another one was named: its line alone if both are in one file."""
    file, _, line = row.place.rpartition(", ")
    return line if other.place.rpartition(", ")[0] == file else row.place


def _notes(question: _Question) -> Iterator[str]:
    """Yield what is worth knowing of a question."""
    there = [candidate for candidate in question.candidates if candidate.strip()]
    if len(set(there)) < len(there):
        yield REPEATED
    if question.right is None:
        return
    if not question.right:
        yield NO_RIGHT
    if len(question.right) > 1:
        yield SEVERAL_RIGHT
    if len(question.right) == len(there):
        yield ALL_RIGHT


def _shuffled(
    question: _Question, selection: AnswerSelection, pool: Sequence[str], generator: random.Random, notes: Counter[str]
) -> Example:
    """Return a question with its candidates in a random order, cut or filled up to the task's number if it has one."""
    right = question.right or ()
    places = [*sorted(right), *(place for place in range(len(question.candidates)) if place not in right)]
    candidates = [question.candidates[place] for place in places]
    limit = selection.num_candidates or len(candidates)
    notes[CUT] += max(0, len(candidates) - limit)
    candidates = candidates[:limit]
    if selection.fill:
        others = _draw(pool, limit, besides=candidates, generator=generator)
        notes[ADDED] += len(others)
        candidates += others
        notes[SHORT] += len(candidates) < limit
    order = generator.sample(range(len(candidates)), len(candidates))
    numbers = frozenset(place for place, source in enumerate(order) if source < len(right))
    empty = ("",) * (limit - len(candidates))
    label = _label(None if question.right is None else numbers)
    return Example(label, (question.text, *(candidates[source] for source in order), *empty))


def _label(right: frozenset[int] | None) -> str:
    """Return the label of right candidates (places from 0; None: unknown): their numbers from 1."""
    return "" if right is None else " ".join(str(place + 1) for place in sorted(right)) or NONE_RIGHT


def _draw(pool: Sequence[str], total: int, *, besides: Sequence[str], generator: random.Random) -> list[str]:
    """Draw what is missing to `total` candidates out of the pool, none twice; fewer if the pool has no more."""
    drawn = generator.sample(
        range(len(pool)), min(total, len(pool))
    )  # of these, at most len(besides) are there already
    others = [pool[place] for place in drawn if pool[place] not in besides]
    return others[: total - len(besides)]
