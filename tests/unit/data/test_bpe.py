"""BPE ids against three other implementations, on hostile text; vocabularies in GPT-2's format; many processes."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.stock_bpe import StockEncoder
from cross_thought.data import bpe
from cross_thought.errors import UserError
from tests.unit.data.hostile import HOSTILE_LINES, training_text
from tests.unit.data.references import tiktoken_encoding

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small vocabulary learnt from text."""
    folder = tmp_path_factory.mktemp("bpe")
    (folder / "text").write_text(training_text(), encoding="utf-8")
    bpe.train_vocabulary(folder / "text", folder / "vocabulary", vocab_size=400, workers=2)
    return folder / "vocabulary"


@pytest.fixture(scope="session")
def gpt2() -> Path:
    """Return GPT-2's real vocabulary."""
    if not (REAL_DATA / "gpt2_bpe" / "encoder.json").is_file():
        pytest.skip(f"needs the real files in {REAL_DATA}/gpt2_bpe")
    return REAL_DATA / "gpt2_bpe"


@pytest.fixture(scope="session")
def encoder(gpt2: Path) -> bpe.Encoder:
    """Return our encoder with GPT-2's vocabulary."""
    return bpe.Encoder(gpt2)


@pytest.fixture(scope="session")
def openai(gpt2: Path) -> tiktoken.Encoding:
    """Return the second source of truth."""
    return tiktoken_encoding(gpt2)


def expected_ids(lines: list[str], encode: Callable[[str], list[int]], newline_id: int) -> list[int]:
    return [index for line in lines for index in (*encode(line.strip()), newline_id)]


def test_hostile_lines_have_the_ids_of_the_stock_encoder(vocabulary: Path) -> None:
    encoder, stock = bpe.Encoder(vocabulary), StockEncoder(vocabulary)
    lines = [line for line in HOSTILE_LINES if len(line) < 10_000]
    assert encoder.encode(lines).tolist() == expected_ids(lines, stock.encode, encoder.newline_id)


def test_hostile_lines_have_the_ids_of_tiktoken(encoder: bpe.Encoder, openai: tiktoken.Encoding) -> None:
    assert encoder.newline_id == 198
    ids = encoder.encode(HOSTILE_LINES)
    assert ids.dtype == np.uint16
    assert ids.tolist() == expected_ids(HOSTILE_LINES, openai.encode_ordinary, 198)


def test_the_stock_encoder_is_tiktokens_equal(gpt2: Path, openai: tiktoken.Encoding) -> None:
    stock = StockEncoder(gpt2)
    for line in HOSTILE_LINES:
        if len(line) < 10_000:
            assert stock.encode(line.strip()) == openai.encode_ordinary(line.strip())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), max_size=8))
def test_any_lines_have_the_ids_of_tiktoken(lines: list[str], encoder: bpe.Encoder, openai: tiktoken.Encoding) -> None:
    assert encoder.encode(lines).tolist() == expected_ids(lines, openai.encode_ordinary, 198)


def test_real_text_has_the_ids_of_tiktoken(encoder: bpe.Encoder, openai: tiktoken.Encoding) -> None:
    for split in ("valid", "test"):
        path = REAL_DATA / "wikitext" / f"wiki.{split}.tokens"
        if not path.is_file():
            pytest.skip(f"needs the real file {path}")
        lines = path.read_text(encoding="utf-8").split("\n")
        assert encoder.encode(lines).tolist() == expected_ids(lines, openai.encode_ordinary, 198)


def test_runs_of_empty_lines_keep_their_places(vocabulary: Path) -> None:
    encoder = bpe.Encoder(vocabulary)
    for lines in ([], [""], ["", "", "", ""], ["", "a", "", "", "", "b", ""], ["a", "b"], [" ", "a", "\r"]):
        ids = encoder.encode(lines)
        ends = np.flatnonzero(ids == encoder.newline_id)
        assert len(ends) == len(lines)
        filled = np.diff(ends, prepend=-1) > 1
        assert filled.tolist() == [bool(line.strip()) for line in lines]


def test_special_symbols_in_text_are_text(encoder: bpe.Encoder) -> None:
    assert 50256 not in encoder.encode(["a <|endoftext|> b", "<|endoftext|>"])


def test_a_learnt_vocabulary_is_in_gpt2s_format_and_always_the_same(vocabulary: Path, tmp_path: Path) -> None:
    ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
    assert sorted(ids.values()) == list(range(len(ids)))
    assert 257 < len(ids) <= 400
    assert len(next(iter(ids))) == 1
    merges = (vocabulary / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    assert merges[0].startswith("#version")
    assert merges[-1] == ""
    assert all("".join(pair.split(" ")) in ids for pair in merges[1:-1])
    (tmp_path / "text").write_text(training_text(), encoding="utf-8")
    bpe.train_vocabulary(tmp_path / "text", tmp_path / "again", vocab_size=400, workers=1)
    for name in ("encoder.json", "vocab.bpe", "dict.txt", "tokenizer.json"):
        assert (vocabulary / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_dictionary_counts_the_training_text(vocabulary: Path) -> None:
    stock = StockEncoder(vocabulary)
    counts = Counter(index for line in training_text().split("\n") for index in stock.encode(line.strip()))
    lines = [line.split(" ") for line in (vocabulary / "dict.txt").read_text().splitlines()]
    assert {int(symbol): int(count) for symbol, count in lines if symbol.isdigit()} == dict(counts)
    assert (len(lines) + bpe.NUM_SPECIALS) % 8 == 0
    numbers = [int(count) for _, count in lines]
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize(("parcel_bytes", "workers"), [(1 << 25, 1), (1 << 25, 2), (500, 2), (37, 3)])
def test_files_are_cut_into_parcels_at_line_ends(
    parcel_bytes: int, workers: int, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe, "PARCEL_BYTES", parcel_bytes)
    monkeypatch.setattr(bpe, "BLOCK_BYTES", 64)
    lines = [line for line in HOSTILE_LINES if len(line) < 300]
    (tmp_path / "text").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    assert bpe.encode_file(tmp_path / "text", tmp_path / "out", vocabulary=vocabulary, workers=workers) == len(lines)
    ids = np.concatenate(list(bpe.read_encoded(tmp_path / "out")))
    assert ids.tolist() == bpe.Encoder(vocabulary).encode(lines).tolist()


def test_a_long_line_and_an_empty_file(vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "long").write_text("word " * 300_000 + "\nshort")
    assert bpe.encode_file(tmp_path / "long", tmp_path / "a", vocabulary=vocabulary, workers=2) == 2
    (tmp_path / "empty").touch()
    assert bpe.encode_file(tmp_path / "empty", tmp_path / "b", vocabulary=vocabulary, workers=2) == 0


def test_lines_in_this_process_are_the_same(vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "BLOCK_BYTES", 20)
    encoder = bpe.Encoder(vocabulary)
    assert bpe.encode_lines(encoder, HOSTILE_LINES, tmp_path / "out") == len(HOSTILE_LINES)
    (ids,) = bpe.read_encoded(tmp_path / "out")
    assert ids.tolist() == encoder.encode(HOSTILE_LINES).tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_invalid_utf8_is_named_and_leaves_nothing(workers: int, vocabulary: Path, tmp_path: Path) -> None:
    text = "fine é\n".encode() * 100
    (tmp_path / "text").write_bytes(text + b"lone surrogate \xed\xa0\x80\n" + text)
    message = rf"text: byte {len(text) + 15} \(0xed\) is not valid UTF-8"
    with pytest.raises(UserError, match=message):
        bpe.encode_file(tmp_path / "text", tmp_path / "out", vocabulary=vocabulary, workers=workers)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_killed_worker_is_explained(vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "_encode_parcel", _die)
    (tmp_path / "text").write_text("one\ntwo\n")
    with pytest.raises(UserError, match="was killed, most likely for want of memory"):
        bpe.encode_file(tmp_path / "text", tmp_path / "out", vocabulary=vocabulary, workers=2)


def _die(*_: object) -> None:
    os._exit(9)


def test_gpt2s_files_are_checked(gpt2: Path, tmp_path: Path) -> None:
    files = {"encoder": gpt2 / "encoder.json", "merges": gpt2 / "vocab.bpe", "dictionary": gpt2 / "dict.txt"}
    bpe.copy_vocabulary(**files, output_dir=tmp_path / "out")
    assert (tmp_path / "out" / "dict.txt").read_bytes() == (gpt2 / "dict.txt").read_bytes()
    (tmp_path / "short.txt").write_text("13 850314647\n")
    with pytest.raises(UserError, match=r"short\.txt has 1 lines where GPT-2's dictionary has 50260"):
        bpe.copy_vocabulary(**files | {"dictionary": tmp_path / "short.txt"}, output_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_missing_or_damaged_vocabulary_is_explained(vocabulary: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/encoder.json is not there")):
        bpe.Encoder(tmp_path)
    (tmp_path / "encoder.json").write_bytes((vocabulary / "encoder.json").read_bytes())
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nno merge\n")
    with pytest.raises(UserError, match="do not fit together"):
        bpe.Encoder(tmp_path)
    (tmp_path / "text").write_text("\n \n")
    with pytest.raises(UserError, match="has no text to learn BPE from"):
        bpe.train_vocabulary(tmp_path / "text", tmp_path / "out", vocab_size=300, workers=1)
