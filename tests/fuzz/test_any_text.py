"""Readers of tables and text, and BPE: any bytes are read or refused in one sentence, and nothing of them is lost."""

import gzip
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cross_thought.data import bpe
from cross_thought.data.binarize import cut_items, read_dictionary
from cross_thought.data.corpus import TextFile, prepare_corpus, read_documents
from cross_thought.data.glue import prepare_task, read_split
from cross_thought.data.prepared import Example, read_prepared, write_prepared
from cross_thought.data.raw_files import RawFile, raw_files
from cross_thought.data.readers import FORMATS
from cross_thought.data.tasks import TASKS, task_from_config
from cross_thought.errors import UserError
from cross_thought.fairseq.pretrained import bytes_to_unicode
from cross_thought.files import read_lines
from tests.fuzz.conftest import FACTOR, assert_one_sentence
from tests.unit.data.hostile import training_text

PLAIN = {"files": {"train": "t", "valid": "t"}, "input_columns": [1, 2], "label_column": 3, "labels": ["0", "1"]}
ANY_TASKS = [
    task_from_config("mine", PLAIN),
    task_from_config("mine", PLAIN | {"header": False, "labels": None}),
    task_from_config("mine", PLAIN | {"input_columns": ["a"], "label_column": "b"}),
    *(task_from_config(name, {"check_rows": False}) for name in ("CoLA", "QQP", "STS-B", "SNLI")),
]
BYTES = st.binary(max_size=60) | st.text(alphabet="ab01\t\n\r .\ufeff\u2028é", max_size=60).map(str.encode)
FIELDS = st.text(alphabet=st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=8)
LINES = st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30)
in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(in_folder, max_examples=200 * FACTOR)
@given(content=BYTES, task=st.sampled_from(ANY_TASKS))
def test_any_table(content: bytes, task: object, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    try:
        examples = read_split(task, "train", RawFile(path=str(path)))[0]
    except UserError as error:
        assert_one_sentence(error)
        return
    for example in examples:
        assert len(example.sentences) == task.num_sentences
        assert task.labels is None or example.label in task.labels


@settings(in_folder, max_examples=100 * FACTOR)
@given(content=st.binary(max_size=200))
def test_any_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "glue" / "RTE.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        prepare_task(TASKS["RTE"], raw_files(TASKS["RTE"], data_dir=str(tmp_path)), tmp_path / "out")
    assert_one_sentence(error.value)


@settings(in_folder, max_examples=100 * FACTOR)
@given(rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=5), ends=st.sampled_from(["\n", "\r\n"]))
def test_a_table_comes_back_as_it_was(rows: list[tuple[str, str, str]], ends: str, tmp_path: Path) -> None:
    assume(not any(row[2].endswith("\r") for row in rows))  # would belong to the line's end
    path = tmp_path / "t"
    path.write_bytes(("one\ttwo\tlabel" + ends + "".join("\t".join(row) + ends for row in rows)).encode())
    labels = sorted({row[2] for row in rows} | {"0", "1"})
    try:
        task = task_from_config("mine", PLAIN | {"labels": labels})
    except UserError:
        assume(False)
    examples = read_split(task, "train", RawFile(path=str(path)))[0]
    assert examples == [Example(label, (one, two)) for one, two, label in rows]
    write_prepared(tmp_path / "prepared.tsv", examples)
    assert list(read_prepared(tmp_path / "prepared.tsv")) == examples


@cache
def sound_files() -> dict[str, bytes]:
    """Return a small file of each form."""
    rows = [("one", "two", "label"), ("a", 'b "c"', "1"), ("d, e", "é", "0")]
    frame = pandas.DataFrame(rows[1:], columns=rows[0])
    return {
        "tsv": frame.to_csv(sep="\t", index=False).encode(),
        "csv": frame.to_csv(index=False).encode(),
        "quoted-tsv": frame.to_csv(sep="\t", index=False).encode(),
        "jsonl": frame.to_json(orient="records", lines=True).encode(),
        "parquet": frame.to_parquet(),
    }


@settings(in_folder, max_examples=200 * FACTOR)
@given(
    form=st.sampled_from(FORMATS),
    start=st.floats(0, 1),
    length=st.integers(0, 30),
    junk=st.binary(max_size=8),
    packed=st.booleans(),
)
def test_a_damaged_file_of_any_form(
    form: str, start: float, length: int, junk: bytes, packed: bool, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    content = sound_files()[form]
    content = gzip.compress(content, mtime=0) if packed else content
    place = round(start * len(content))
    (tmp_path / "t").write_bytes(content[:place] + junk + content[place + length :])
    task = task_from_config("mine", PLAIN | {"labels": ["0", "1"], "format": form})
    try:
        read_split(task, "train", RawFile(path=str(tmp_path / "t")))
    except UserError as error:
        assert_one_sentence(error)


@settings(in_folder, max_examples=150 * FACTOR)
@given(content=BYTES, file_format=st.sampled_from(["plain", "wikitext"]), packed=st.booleans())
def test_any_corpus(content: bytes, file_format: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(content) if packed else content)
    source = TextFile(path=str(path), format=file_format)
    try:
        documents = list(read_documents(source))
    except UserError as error:
        assert_one_sentence(error)
        return
    filled = [re.sub(r"^[\s\ufeff]+", "", line).strip() for line in read_lines(path)]
    assert [line for document in documents for line in document] == list(filter(None, filled))
    try:
        counts = prepare_corpus({"train": [source], "valid": []}, tmp_path / "out", valid_fraction=0.5)
    except UserError as error:
        assert_one_sentence(error)
        return
    assert sum(counts.values()) == len(documents)
    again = [list(read_documents(TextFile(path=str(tmp_path / "out" / f"{split}.txt")))) for split in counts]
    assert sorted(again[0] + again[1]) == sorted(documents)


@settings(in_folder, max_examples=100 * FACTOR)
@given(content=BYTES)
def test_any_wrapped_text(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    try:
        as_it_is, wrapped = (
            list(read_documents(TextFile(path=str(path), lines=kind))) for kind in ("sentences", "wrapped")
        )
    except UserError as error:
        assert_one_sentence(error)
        return
    assert [" ".join(paragraph) for paragraph in as_it_is] == [line for document in wrapped for line in document]


@settings(in_folder, max_examples=100 * FACTOR)
@given(texts=st.lists(st.text(max_size=20), max_size=4), ascii_only=st.booleans(), packed=st.booleans())
def test_json_lines_are_documents(texts: list[str], ascii_only: bool, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    lines = "".join(json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in texts)
    try:
        content = lines.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can write in ASCII alone
        assume(False)
    path.write_bytes(gzip.compress(content) if packed else content)
    try:
        documents = list(read_documents(TextFile(path=str(path))))
    except UserError as error:
        assert_one_sentence(error)
        assert any(0xD800 <= ord(character) < 0xE000 for text in texts for character in text)
        return
    filled = [[re.sub(r"^[\s\ufeff]+", "", line).strip() for line in text.split("\n")] for text in texts]
    assert documents == [kept for kept in (list(filter(None, document)) for document in filled) if kept]


@settings(in_folder, max_examples=100 * FACTOR)
@given(content=BYTES | st.text(alphabet='{}[]":,tex01\n\\', max_size=40).map(str.encode))
def test_any_json_lines(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    try:
        documents = list(read_documents(TextFile(path=str(path))))
    except UserError as error:
        assert_one_sentence(error)
        return
    assert all(document and all(document) for document in documents)


@settings(in_folder, max_examples=100 * FACTOR)
@given(content=BYTES)
def test_any_dictionary(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_bytes(content)
    try:
        assert all(read_dictionary(path))
    except UserError as error:
        assert_one_sentence(error)


@settings(in_folder, max_examples=100 * FACTOR)
@given(content=st.binary(max_size=30) | st.text(alphabet='{}[]":,a01Ċ', max_size=30).map(str.encode))
def test_any_vocabulary(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_bytes(content)
    (tmp_path / "vocab.bpe").write_bytes(b"#version: 0.2\n")
    for read in (
        lambda: bpe.bpe_symbols(tmp_path),
        lambda: bpe.load_gpt2_files(tmp_path / "encoder.json", tmp_path / "vocab.bpe"),
    ):
        try:
            read()
        except UserError as error:
            assert_one_sentence(error)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small vocabulary."""
    folder = tmp_path_factory.mktemp("bpe")
    (folder / "train.txt").write_text(training_text(), encoding="utf-8")
    bpe.train_vocabulary(folder / "train.txt", folder / "vocabulary", vocab_size=400, workers=1)
    return folder / "vocabulary"


@pytest.fixture(scope="module")
def spelled(vocabulary: Path) -> dict[int, bytes]:
    """Return the bytes of each BPE id."""
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
    return {number: bytes(byte_of[character] for character in symbol) for symbol, number in ids.items()}


@settings(in_folder, max_examples=200 * FACTOR)
@given(lines=st.lists(LINES, max_size=6))
def test_bpe_loses_nothing(lines: list[str], vocabulary: Path, spelled: dict[int, bytes]) -> None:
    encoder = bpe.Encoder(vocabulary)
    text = b"".join(spelled[id_] for id_ in encoder.encode(lines).tolist())
    assert text == b"".join(line.strip().encode() + b"\n" for line in lines)


@settings(max_examples=100 * FACTOR)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(2, 6))
def test_cut_items(sizes: list[int], max_tokens: int) -> None:
    items = [[*range(10, 9 + size), 2] for size in sizes]
    ids, cut = cut_items(np.concatenate(items), np.array(sizes), max_tokens)
    wanted = [item if len(item) <= max_tokens else [*item[: max_tokens - 1], 2] for item in items]
    assert ids.tolist() == [id_ for item in wanted for id_ in item]
    assert cut.tolist() == list(map(len, wanted))
