"""From rows of a file to questions with candidate answers."""

import logging
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cross_thought.data.tasks import AnswerSelection
from cross_thought.errors import UserError

logger = logging.getLogger(__name__)

CANDIDATE_SEED = 1

# the number of the right candidate, from 1 ("" where unknown), and the question with its candidates
Question = tuple[str, tuple[str, ...]]


class CandidateRow(NamedTuple):
    """A line of a file with a row for each candidate; the label is "" where it is unknown."""

    line_number: int
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
    rows: Iterable[CandidateRow], *, task: str, selection: AnswerSelection, split: str, where: str
) -> list[Question]:
    """Gather the rows of each question, wherever they stand, into one example; space around a text does not count.

    ASSUME: a question's candidates are put in a random order, always the same one, so that a model that finds them all
    alike gets no help from the file's order.

    Args:
        rows: of one split.
        task: its name.
        selection: the task's, with `right_label`.
        split: its name; the random draws depend on both.
        where: the file, for messages.

    Returns:
        A question for each different one, in the order of their first rows, empty candidates filling up its N.

    Raises:
        UserError: for a question without exactly one right candidate, with fewer than two candidates or more than N,
            with one that stands twice, or where it or a candidate is empty; unless the task leaves such questions out.
    """
    by_question: dict[str, list[CandidateRow]] = {}
    for row in rows:
        stripped = row._replace(question=row.question.strip(), candidate=row.candidate.strip())
        by_question.setdefault(stripped.question, []).append(stripped)
    generator = random.Random(f"{task} {split} candidates {CANDIDATE_SEED}")
    pool = list({row.candidate: None for group in by_question.values() for row in group}) if selection.fill else []
    questions, num_dropped, num_cut, num_filled = [], 0, 0, 0
    for question, group in by_question.items():
        fault = _fault(group, selection)
        if fault and selection.drop_unusable:
            num_dropped += 1
            continue
        if fault:
            raise UserError(f"{where}, {fault}")
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
        num_dropped,
        num_cut,
        num_filled,
    )
    return questions


def _fault(group: Sequence[CandidateRow], selection: AnswerSelection) -> str | None:
    """Say what is wrong with a question's rows, starting with the line."""
    first = group[0]
    if not first.question:
        return f"line {first.line_number}: the question is empty; fill it in or take the row out"
    empty = next((row for row in group if not row.candidate), None)
    if empty is not None:
        return f"line {empty.line_number}: the candidate is empty; fill it in or take the row out"
    right = [row for row in group if row.label == selection.right_label]
    if first.label and not right:
        return (
            f"line {first.line_number}: the question has no right candidate, for none of its rows is labelled "
            f"{selection.right_label!r}; mend the labels or take it out"
        )
    if len(right) > 1:
        return (
            f"line {right[1].line_number}: a second right candidate for the question of line {right[0].line_number}; "
            "leave one of them"
        )
    rows: dict[str, CandidateRow] = {}
    for row in group:
        twin = rows.setdefault(row.candidate, row)
        if twin is not row:
            return f"line {row.line_number}: the same question and candidate as in line {twin.line_number}; leave one"
    if len(group) < 2 and not selection.fill:
        return (
            f"line {first.line_number}: the question's only candidate; add a wrong one, or set fill_candidates to true "
            "to add those of other questions"
        )
    if len(group) > selection.num_candidates and not selection.drop_unusable:
        return (
            f"line {group[selection.num_candidates].line_number}: the question has {len(group)} candidates, more than "
            f"num_candidates {selection.num_candidates}; raise that"
        )
    return None


def _draw(pool: Sequence[str], total: int, *, besides: Sequence[str], generator: random.Random) -> list[str]:
    """Draw what is missing to `total` candidates out of the pool, none twice; fewer if the pool has no more."""
    drawn = generator.sample(
        range(len(pool)), min(total, len(pool))
    )  # of these, at most len(besides) are there already
    others = [pool[place] for place in drawn if pool[place] not in besides]
    return others[: total - len(besides)]
