"""Questions with passages in the forms of the field's data sets: HotpotQA, Quasar-T, TREC-QA; WikiQA's is plain TSV.

Each becomes a table with a row for each passage, of the columns `id` and `question`, `title` (HotpotQA's alone),
`passage`, and `label`, which is `1` where the passage is right.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cross_thought.data.readers import Row, Table, json_cell, json_values
from cross_thought.errors import UserError, shown
from cross_thought.files import open_bytes, read_lines

HOTPOTQA, QUASAR_T, TREC_QA = QUESTION_FORMS = ("hotpotqa", "quasar-t", "trec-qa")
NO_PASSAGE = "questions without a passage"  # why they are left out
COLUMNS = ["id", "question", "title", "passage", "label"]


def read_questions(path: Path, *, member: str | None, form: str | None, questions: Path | None) -> Table:
    """Read a file of questions with passages, or a member of an archive; form is one of `QUESTION_FORMS`.

    Of Quasar-T, `questions` is the file of the questions; `path` has their passages.

    Returns:
        The table, whose rows are read as they are asked for; they are numbered by the lines of `path`, in HotpotQA,
        whose file is one line, by its questions.

    Raises:
        UserError: then, if the file is not of that form, with the line or the question.
    """
    where = str(path) if member is None else f"{path}:{member}"
    left_out: Counter[str] = Counter()
    rows = _hotpotqa(path, member, where, left_out)
    if form == QUASAR_T:
        rows = _quasar_t(path, member, where, questions, left_out)
    if form == TREC_QA:
        rows = _trec_qa(path, member, where, left_out)
    unit = "question" if form == HOTPOTQA else "line"
    return Table(where, str(form), unit, COLUMNS, _checked(rows, where, form, unit), left_out)


def _checked(rows: Iterator[Row], where: str, form: str | None, unit: str) -> Iterator[Row]:
    """Yield rows, of which there must be one, of characters alone."""
    row = None
    for row in rows:
        yield row._replace(cells=[json_cell(cell, f"{where}, {unit} {row.number}") for cell in row.cells])
    if row is None:
        raise UserError(f"{where}: no questions in the form {form!r}; give a file of that form, or set `format`")


def _hotpotqa(path: Path, member: str | None, where: str, left_out: Counter[str]) -> Iterator[Row]:
    """Yield paragraphs of each question: right are those whose title a supporting fact names; its test set has none.

    ASSUME: a paragraph is its title and its sentences, for sentences speak of the title as "he" or "it".

    Source: the README of github.com/hotpotqa/hotpot, "JSON Format".
    """
    for number, item in enumerate(_array(path, member, where), start=1):
        place = f"{where}, question {number}"
        question_id, question = _value(item, "_id", place), _value(item, "question", place)
        paragraphs: list[tuple[str, str]] = []
        for entry in _value(item, "context", place, list):
            if not _is_pair(entry, str, list) or not all(isinstance(sentence, str) for sentence in entry[1]):
                raise UserError(f"{place}: {shown(entry)} is no paragraph, [title, sentences]; mend the file")
            paragraphs.append((entry[0], " ".join(" ".join([entry[0], *entry[1]]).split())))
        titles = None
        if "supporting_facts" in item:
            facts = _value(item, "supporting_facts", place, list)
            for fact in facts:
                if not _is_pair(fact, str, object):
                    raise UserError(f"{place}: {shown(fact)} is no supporting fact, [title, number]; mend the file")
            titles = {fact[0] for fact in facts}
            lacking = titles - {title for title, _ in paragraphs}
            if lacking or not titles:
                raise UserError(
                    f"{place}: {f'a supporting fact names {min(lacking)!r}, no' if lacking else 'no fact names a'} "
                    "paragraph of the question; give the files of the distractor setting, which have all of them"
                )
        left_out[NO_PASSAGE] += not paragraphs
        for title, text in paragraphs:
            label = None if titles is None else str(int(title in titles))
            yield Row(number, [question_id, question, title, text, label])


def _quasar_t(
    path: Path, member: str | None, where: str, questions: Path | None, left_out: Counter[str]
) -> Iterator[Row]:
    """Yield the passages of each question. Distant supervision: right is a passage that contains the answer.

    ASSUME: a question is {"uid", "question", "answer"} and its passages {"uid", "contexts": [[score, text], ...]}, an
    object a line: so the preparing script of R3 (Wang et al., 2018; github.com/shuohangwang/mprc) reads the files.
    ASSUME: a passage contains the answer if it has its words one after the other, in capitals or not.
    """
    if questions is None:
        raise UserError(f"{where} has passages alone; name the file of the questions as `questions` of the split")
    asked: dict[str, tuple[str, re.Pattern[str] | None]] = {}
    for number, value in json_values(read_lines(questions), str(questions)):
        place = f"{questions}, line {number}"
        uid, question, answer = (_value(value, name, place) for name in ("uid", "question", "answer"))
        if uid in asked:
            raise UserError(f"{place}: the uid {uid!r} stands twice; leave one")
        asked[uid] = question, _phrase(answer)
    left = dict.fromkeys(asked)
    for number, value in json_values(read_lines(path, member=member), where):
        place = f"{where}, line {number}"
        uid = _value(value, "uid", place)
        if uid not in left:
            unknown = "stands twice" if uid in asked else f"is none of {questions}"
            raise UserError(f"{place}: the uid {uid!r} {unknown}; give the two files of one split")
        del left[uid]
        question, phrase = asked[uid]
        passages = _value(value, "contexts", place, list)
        left_out[NO_PASSAGE] += not passages
        for entry in passages:
            if not _is_pair(entry, object, str):
                raise UserError(f"{place}: {shown(entry)} is no passage, [score, text]; mend the file")
            label = str(int(phrase is not None and phrase.search(entry[1]) is not None))
            yield Row(number, [uid, question, None, entry[1], label])
    if left:
        raise UserError(
            f"{where}: no passages for the uid {next(iter(left))!r} of {questions}, one of {len(left)} such; give the "
            "two files of one split"
        )


def _phrase(text: str) -> re.Pattern[str] | None:
    """Return what finds the words of a text one after the other; None if it has none."""
    words = r"\s+".join(map(re.escape, text.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE) if words else None


_TAG = re.compile(r"<(/?)(QApairs|question|positive|negative)(?: id=['\"](.*)['\"])?>")
_LIKE_A_TAG = re.compile(r"< */? *(QApairs|question|positive|negative)\b", re.IGNORECASE)


def _trec_qa(path: Path, member: str | None, where: str, left_out: Counter[str]) -> Iterator[Row]:
    """Yield the sentences of each question.

    ASSUME: a `<QApairs id='1'>` holds a `<question>`, and `<positive>` and `<negative>` sentences; of each, the first
    line has the words, by tabs, and those after it what a parser says of them. So github.com/castorini/data describes
    and reads the files of Yao et al. (2013), which are no sound XML. Words are joined by spaces.
    """
    question_id, question, kind, number = None, None, None, 0
    num_passages = 0
    for number, line in enumerate(read_lines(path, member=member), start=1):
        tag = _TAG.fullmatch(line.strip())
        if tag is not None:
            is_end, name, given_id = tag.groups()
            if kind is not None:
                raise UserError(
                    f"{where}, line {number}: {shown(line.strip())} where a {kind}'s words should be; mend the file"
                )
            if name == "QApairs" and not is_end and question_id is not None:
                raise UserError(f"{where}, line {number}: the question before has no </QApairs>; mend the file")
            kind = None if is_end or name == "QApairs" else name
            if name == "QApairs":
                left_out[NO_PASSAGE] += bool(is_end) and not num_passages
                num_passages = 0
                question_id, question = (None if is_end else given_id or str(number)), None
        elif _LIKE_A_TAG.match(line.strip()):
            raise UserError(
                f"{where}, line {number}: {shown(line.strip())} is no tag as TREC-QA has them, <positive> or "
                "<QApairs id='1'>; mend the file"
            )
        elif kind is not None:
            text = " ".join(line.split())
            if question_id is None or (kind != "question" and question is None):
                raise UserError(f"{where}, line {number}: a {kind} outside of a question's <QApairs>; mend the file")
            if kind == "question":
                question = text
            else:
                num_passages += 1
                yield Row(number, [question_id, question, None, text, str(int(kind == "positive"))])
            kind = None  # the lines that follow are a parser's
    if question_id is not None:
        raise UserError(f"{where}, line {number}: the file ends within a question; fetch it again")


def _array(path: Path, member: str | None, where: str) -> Iterator[Any]:
    """Yield the items of a file that is one JSON array, in flat memory."""
    from ijson.backends import python as ijson  # yajl is faster, but makes `?` or others of half a surrogate pair
    from ijson.common import JSONError

    with open_bytes(path, member=member) as handle:
        try:
            yield from ijson.items(handle, "item", use_float=True)
        except JSONError as error:
            reason = str(error).splitlines()[0].strip()
            raise UserError(f"{where}: no JSON array of questions ({reason}); fetch the file again") from None


def _value(item: Any, name: str, place: str, kind: type = str) -> Any:
    """Return a text of a JSON object, or what else is wanted."""
    if not isinstance(item, Mapping) or name not in item:
        has = f"only {', '.join(item)}" if isinstance(item, Mapping) else shown(item)
        raise UserError(f"{place}: no {name!r}, but {has}; mend the file, or the task's `format`")
    if not isinstance(item[name], kind):
        wanted = "text" if kind is str else kind.__name__
        raise UserError(f"{place}: {name!r} is {shown(item[name])}, which is no {wanted}; mend the file")
    return item[name]


def _is_pair(value: Any, first: type, second: type) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], first) and isinstance(value[1], second)
