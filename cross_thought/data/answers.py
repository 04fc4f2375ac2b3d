"""From rows of a file to questions with candidate answers."""

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from cross_thought.data.definitions import AnswerSelection
from cross_thought.errors import UserError

logger = logging.getLogger(__name__)

CANDIDATE_SEED = 1

# the number of the right candidate, from 1 ("" where unknown), and the question with its candidates
Question = tuple[str, tuple[str, ...]]


class CandidateRow(NamedTuple):
    """A line of a file with a row for each candidate: the file and the line; the label, "" where it is unknown."""

    place: str
    label: str
    question: str
    candidate: str


def check_question(sentences: Sequence[str], label: str, *, where: str) -> None:
    """Refuse a row of a question and its candidates that has no choice, or a question or right candidate that is empty.

    Args:
        sentences: the question and its candidates; an empty one is none.
        label: the number of the right one, "" where unknown.
        where: file and line, for the message.

    Raises:
        UserError: saying which.
    """
    candidates = [candidate.strip() for candidate in sentences[1:]]
    num_candidates = sum(map(bool, candidates))
    if not sentences[0].strip():
        raise UserError(f"{where}: the question is empty; fill it in or take the row out")
    if num_candidates < 2:
        raise UserError(f"{where}: {num_candidates} candidates; give two or more, or take the row out")
    if label and not candidates[int(label) - 1]:
        raise UserError(f"{where}: candidate {label}, the right one, is empty; mend the row")
    for place, candidate in enumerate(candidates):
        first = candidates.index(candidate)
        if candidate and first < place:
            raise UserError(f"{where}: candidates {first + 1} and {place + 1} are the same; mend one or leave it empty")


def group_candidates(
    rows: Sequence[CandidateRow], *, task: str, selection: AnswerSelection, split: str
) -> tuple[list[Question], int]:
    """Gather the rows of each question, wherever they stand, into one example; space around a text does not count.

    ASSUME: a question's candidates are put in a random order, always the same one, so that a model that finds them all
    alike gets no help from the file's order.

    Args:
        rows: of one split.
        task: its name.
        selection: the task's, with `right_label`.
        split: its name; the random draws depend on both.

    Returns:
        A question for each different one, in the order of their first rows, empty candidates filling up its N; and how
        many were left out.

    Raises:
        UserError: for a question without exactly one right candidate, with fewer than two candidates or more than N,
            with one that stands twice, or where it or a candidate is empty; unless the task leaves such questions out.
    """
    by_question: dict[str, list[CandidateRow]] = {}
    for row in rows:
        stripped = row._replace(question=row.question.strip(), candidate=row.candidate.strip())
        by_question.setdefault(stripped.question, []).append(stripped)
    faults = {question: fault for question, group in by_question.items() if (fault := _fault(group, selection))}
    if faults and not selection.drop_unusable:
        num_unfit = sum(
            _fault(group, replace(selection, drop_unusable=True)) is not None for group in by_question.values()
        )
        raise UserError(
            f"{next(iter(faults.values()))}; or set tasks.{task}.drop_unusable to true to leave out what is unfit, "
            f"{num_unfit} of {len(by_question)} questions"
        )
    generator = random.Random(f"{task} {split} candidates {CANDIDATE_SEED}")
    pool = list({row.candidate: None for group in by_question.values() for row in group}) if selection.fill else []
    questions, num_cut, num_filled = [], 0, 0
    for question, group in by_question.items():
        if question in faults:
            continue
        answers = [row.candidate for row in group if row.label == selection.right_label]
        candidates = answers + [row.candidate for row in group if row.label != selection.right_label]
        num_cut += max(0, len(candidates) - selection.num_candidates)
        candidates = candidates[: selection.num_candidates]
        if selection.fill:
            others = _draw(pool, selection.num_candidates, besides=candidates, generator=generator)
            num_filled += len(others)
            candidates += others
        order = generator.sample(range(len(candidates)), len(candidates))
        empty = ("",) * (selection.num_candidates - len(candidates))
        label = str(order.index(0) + 1) if answers else ""
        questions.append((label, (question, *(candidates[place] for place in order), *empty)))
    logger.info(
        "%s %s: %d questions (%d unusable left out; %d candidates left out, %d of other questions added)",
        task,
        split,
        len(questions),
        len(faults),
        num_cut,
        num_filled,
    )
    return questions, len(faults)


def _fault(group: Sequence[CandidateRow], selection: AnswerSelection) -> str | None:
    """Say what is wrong with a question's rows, starting with the file and the line."""
    first = group[0]
    if not first.question:
        return f"{first.place}: the question is empty; fill it in or take the row out"
    empty = next((row for row in group if not row.candidate), None)
    if empty is not None:
        return f"{empty.place}: the candidate is empty; fill it in or take the row out"
    right = [row for row in group if row.label == selection.right_label]
    if first.label and not right:
        return (
            f"{first.place}: the question has no right candidate, for none of its rows is labelled "
            f"{selection.right_label!r}; mend the labels or take it out"
        )
    if len(right) > 1:
        more = f", with more in {', '.join(_near(row, right[1]) for row in right[2:])}" if right[2:] else ""
        return (
            f"{right[1].place}: a second right candidate for the question of {_near(right[0], right[1])}{more}; "
            "leave one of them"
        )
    rows: dict[str, CandidateRow] = {}
    for row in group:
        twin = rows.setdefault(row.candidate, row)
        if twin is not row:
            return f"{row.place}: the same question and candidate as in {_near(twin, row)}; leave one"
    if len(group) < 2 and not selection.fill:
        return (
            f"{first.place}: the question's only candidate; add a wrong one, or set fill_candidates to true "
            "to add those of other questions"
        )
    if len(group) > selection.num_candidates and not selection.drop_unusable:
        return (
            f"{group[selection.num_candidates].place}: the question has {len(group)} candidates, more than "
            f"num_candidates {selection.num_candidates}; raise that"
        )
    return None


def _near(row: CandidateRow, other: CandidateRow) -> str:
    """Name the place of a row, where that of another one was named: its line alone if both are in one file."""
    file, _, line = row.place.rpartition(", ")
    return line if other.place.rpartition(", ")[0] == file else row.place


def _draw(pool: Sequence[str], total: int, *, besides: Sequence[str], generator: random.Random) -> list[str]:
    """Draw what is missing to `total` candidates out of the pool, none twice; fewer if the pool has no more."""
    drawn = generator.sample(
        range(len(pool)), min(total, len(pool))
    )  # of these, at most len(besides) are there already
    others = [pool[place] for place in drawn if pool[place] not in besides]
    return others[: total - len(besides)]
