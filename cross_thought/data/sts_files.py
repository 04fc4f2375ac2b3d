"""Pairs of sentences with scores as SemEval's STS has them: a year is several parts, each of two files.

`STS.input.PART.txt` has a pair a line, by a tab; `STS.gs.PART.txt` beside it the pair's score, an empty line where the
annotators gave none.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from cross_thought.data.definitions import STS
from cross_thought.data.readers import Row, Table
from cross_thought.errors import UserError, shown
from cross_thought.files import read_lines

COLUMNS = ["sentence1", "sentence2", "score"]

_INPUT = re.compile(r"(.*\.)input(\.(.+?)(?:\.txt)?(?:\.gz)?)")


def gold_file(path: str) -> str:
    """Return the file of the scores of a file of pairs: `STS.gs.PART.txt` of `STS.input.PART.txt`.

    Raises:
        UserError: if the name is not of that form.
    """
    before, after, _ = _parts_of(path)
    return str(Path(path).with_name(f"{before}gs{after}"))


def part_name(path: str) -> str:
    """Return the name of the part that a file of pairs has; a UserError says that its name is not of that form."""
    return _parts_of(path)[2]


def _parts_of(path: str) -> tuple[str, str, str]:
    found = _INPUT.fullmatch(Path(path).name)
    if found is None:
        raise UserError(
            f"{path}: a file of format {STS!r} is named STS.input.PART.txt, not {shown(Path(path).name)}; rename it, "
            "and that of its scores STS.gs.PART.txt"
        )
    before, after, part = found.groups()
    return before, after, part


def read_sts(path: Path, *, member: str | None = None) -> Table:
    """Read one part: the file of its pairs, or a member of an archive, where the file of the scores is, too.

    ASSUME: what follows the second tab of a line says where the sentences are from, as in the files of 2016.

    Returns:
        The table, of the columns `sentence1`, `sentence2` and `score`, which is "" where there is none.

    Raises:
        UserError: then, if a line is no pair, or the files have not as many lines.

    Source: github.com/facebookresearch/SentEval, senteval/sts.py.
    """
    where = str(path) if member is None else f"{path}:{member}"
    gold = path if member is not None else Path(gold_file(str(path)))
    gold_member = None if member is None else gold_file(member)

    def rows() -> Iterator[Row]:
        pairs, scores = read_lines(path, member=member), read_lines(gold, member=gold_member)
        for number, (pair, score) in enumerate(zip_longest(pairs, scores), start=1):
            if pair is None or score is None:
                if not (pair or score or "").strip():
                    continue  # an empty line that one of the files ends in
                short, other = (where, gold_member or gold) if pair is None else (gold_member or gold, where)
                raise UserError(
                    f"{where}, line {number}: {short} ends before {other}, but a pair and its score stand on one "
                    "line; fetch both again"
                )
            cells = pair.removesuffix("\r").split("\t")
            if len(cells) < 2:
                raise UserError(f"{where}, line {number}: no tab in {shown(pair)}, which should be a pair; mend it")
            yield Row(number, [*cells[:2], score.strip()])

    return Table(where, STS, "line", COLUMNS, rows())
