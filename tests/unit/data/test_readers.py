"""Files in the forms that people have: what stands in a cell comes out, whatever the form; and what is refused."""

import csv
import gzip
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest

from cross_thought.data.readers import FORMATS, NoText, format_of, read_table
from cross_thought.errors import UserError
from tests.unit.data.hostile import HOSTILE_LINES

NAMES = ["id", "text", "label"]
# what a reader of tables may take for something else than text
TEMPTING = [
    *("NA", "N/A", "nan", "NaN", "null", "None", "NULL", "#N/A", "-", "inf", "-inf", "<NA>", "n/a", "", " ", "  x  "),
    *("1e5", "1E-3", "007", "1.0", "1.10", "-0", "+1", "1_000", "1,000", "0x1f", "12345678901234567890", ".5", "1."),
    *(
        "true",
        "True",
        "FALSE",
        "yes",
        "2020-01-01",
        "12:30",
        "1/2",
        "50%",
        "$5",
        "=1+1",
        "#comment",
        "'",
        '"',
        '""',
        '"a"',
    ),
    *(
        'a"b',
        '"a',
        'a"',
        "a,b",
        ";",
        "|",
        "\\",
        "\\n",
        "\\t",
        "a\\",
        "\x00",
        "a\x00b",
        "\x1a",
        "\x0b\x0c",
        "\x85",
        "\u2028",
    ),
    *(
        "\ufeff",
        "\u200b",
        "é",
        "e\u0301",
        "😀👩‍👩‍👧",
        "中文",
        "نص",
        "\U0010ffff",
        "{}",
        "[1]",
        '{"a": 1}',
        "<s>",
        "</s>",
    ),
]
BREAKS = ["a\tb", "a\nb", "a\r\nb", "a\rb", "\t", "\n", "\r", "a\n", "\nb", 'q "\n" q', "x\r"]


def cells(*, breaks: bool, count: int = 5000) -> list[str]:
    """Return hostile cells: those above, and random mixtures of them."""
    generator = random.Random(1)
    lines = [line for line in HOSTILE_LINES if len(line) < 1000]
    plain = [
        *TEMPTING,
        *(line for line in lines if breaks or not set("\t\r\n") & set(line)),
        *(BREAKS if breaks else []),
    ]
    mixed = ["".join(generator.choices(plain, k=generator.randint(1, 4))) for _ in range(count - len(plain))]
    return plain + mixed


def write_tsv(path: Path, rows: list[list[str]]) -> None:
    path.write_bytes("".join("\t".join(row) + "\n" for row in [NAMES, *rows]).encode())


def write_csv(path: Path, rows: list[list[str]], *, separator: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([NAMES, *rows])


def write_quoted_tsv(path: Path, rows: list[list[str]]) -> None:
    write_csv(path, rows, separator="\t")


def write_json_lines(path: Path, rows: list[list[str]]) -> None:
    lines = (json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=bool(len(row[1]) % 2)) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def write_parquet(path: Path, rows: list[list[str]]) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    pandas.DataFrame(rows, columns=NAMES).to_parquet(path)


WRITERS: dict[str, Callable[[Path, list[list[str]]], None]] = {
    "tsv": write_tsv,
    "csv": write_csv,
    "quoted-tsv": write_quoted_tsv,
    "jsonl": write_json_lines,
    "parquet": write_parquet,
}


def test_every_form_is_tried() -> None:
    assert list(WRITERS) == list(FORMATS)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_5000_hostile_cells_come_out_as_they_went_in(form: str, packed: bool, tmp_path: Path) -> None:
    texts = cells(breaks=form != "tsv")
    assert len(texts) == 5000
    rows = [[f"{number:05}", text, str(number % 2)] for number, text in enumerate(texts)]
    path = tmp_path / f"file.{form}"
    WRITERS[form](path, rows)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    table = read_table(path, form=form)
    assert list(table.names) == NAMES
    found = [list(row.cells) for row in table.rows]
    assert found == rows


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.tsv", "tsv"), ("a.txt", "tsv"), ("a", "tsv"), ("a.tsv.gz", "tsv"), ("A.CSV", "csv"), ("a.csv.gz", "csv")),
        *(
            ("a.jsonl", "jsonl"),
            ("a.ndjson", "jsonl"),
            ("a.json.gz", "jsonl"),
            ("train-00000-of-00001.parquet", "parquet"),
        ),
    ],
)
def test_the_ending_tells_the_form(name: str, form: str) -> None:
    assert format_of(f"folder.csv/{name}") == form


def test_rows_carry_the_line_that_they_start_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",1\nplain,0\n\n\n')
    assert [row.number for row in read_table(path).rows] == [2, 4]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_empty_lines_at_the_end_are_no_rows(name: str, tmp_path: Path) -> None:
    content = {"a.tsv": "x\ty\n1\t2\n\n\n", "a.csv": "x,y\r\n1,2\r\n\r\n", "a.jsonl": '{"x": "1", "y": 2}\n\n'}
    (tmp_path / name).write_bytes(content[name].encode())
    assert [row.cells for row in read_table(tmp_path / name).rows] == [["1", "2"]]


def test_values_of_json_are_the_text_that_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1e5, "b": 1.0, "c": true, "d": null}\n{"b": 12345678901234567890, "e": "x"}\n')
    table = read_table(path)
    assert table.names == ["a", "b", "c", "d", "e"]
    assert [row.cells for row in table.rows] == [
        ["1e5", "1.0", "true", None, None],
        [None, "12345678901234567890", None, None, "x"],
    ]
    path.write_text('["one", 2]\n["three", 4]\n')
    assert [row.cells for row in read_table(path).rows] == [["one", "2"], ["three", "4"]]


def test_values_of_parquet_are_their_shortest_text(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    columns = {
        "whole": pyarrow.array([1, -1, None]),
        "single": pyarrow.array([3.2, 5.0, -1.0], pyarrow.float32()),
        "truth": pyarrow.array([True, False, True]),
        "coded": pyarrow.array(["a", "b", "a"]).dictionary_encode(),
        "nested": pyarrow.array([[1], [2], None]),
    }
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    found = [list(row.cells) for row in read_table(tmp_path / "a.parquet").rows]
    nested = found[0][-1]
    assert isinstance(nested, NoText)
    assert nested.startswith("of the type list<")
    assert found == [
        ["1", "3.2", "true", "a", nested],
        ["-1", "5", "false", "b", nested],
        [None, "-1", "true", "a", None],
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b'x,y\n1,2\n"3,4\n',
            "a.csv, line 3: not to be read as CSV (unexpected end of data); mend the quotes",
        ),
        (
            "a.csv",
            b'x,y\n1,2\n"3"3,4\n5,6\n',
            "a.csv, line 3: not to be read as CSV (',' expected after '\"'); mend the",
        ),
        ("a.csv", b"x,y\n1,2\n3,4,5\n", "a.csv, row 3: 3 fields where row 1 has 2; mend the row"),
        ("a.csv", b"x,y\n1,\xff\n", "a.csv: byte 6 (0xff) is not valid UTF-8"),
        ("a.jsonl", b'{"x": 1}\n{"x": \n', "a.jsonl, line 2: not JSON (Expecting value"),
        ("a.json", b'[\n{"x": 1}\n]\n', "a.json, line 1: not JSON (Expecting value"),
        (
            "a.jsonl",
            b'{"x": NaN}\n',
            "a.jsonl, line 1: NaN is no JSON: a cell that was missing? fill it in, or take the",
        ),
        ("a.jsonl", b'"text"\n', "a.jsonl, line 1: '\"text\"' is no JSON object; write one a line"),
        ("a.jsonl", b'{"x": 1}\n[1]\n', "a.jsonl has objects and lists"),
        ("a.jsonl", b'{"x": 1, "y": 2, "x": 3}\n', "a.jsonl, line 1: the key 'x' stands twice; leave one"),
        ("a.json", b'[{"x": 1}, {"x": 2}]\n', "a.json, line 1: a JSON array of objects; write an object a line (jq -c"),
        ("a.jsonl", b'{"x": "\\ud800"}\n', "a.jsonl, line 1: half a surrogate pair in '\\ud800'"),
        ("a.parquet", b"no parquet", "a.parquet is no sound Parquet file (Parquet magic bytes not found"),
        ("a.tsv.gz", gzip.compress(b"x\ty\n" * 99, mtime=0)[:-12], "a.tsv.gz is no sound gzip file"),
        ("a.tsv.gz", b"\x1f\x8bno gzip at all", "a.tsv.gz is no sound gzip file"),
    ],
)
def test_what_is_not_of_its_form_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        list(read_table(tmp_path / name).rows)
    assert "\n" not in str(error.value)


def test_parquet_without_pyarrow_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"a\.parquet is a Parquet file, which needs pyarrow: run `pip install pyarrow`"
    ):
        read_table(tmp_path / "a.parquet")


def test_tsv_needs_neither_pandas_nor_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\ty\n1\t2\n")
    code = (
        "import sys; from pathlib import Path; from cross_thought.data.readers import read_table;"
        "list(read_table(Path(sys.argv[1])).rows); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.tsv")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "pyarrow", "numpy"} & set(loaded)
