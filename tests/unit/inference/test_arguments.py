"""What callers give: numbers, names and flags that would be taken for something else are refused; types as they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_overloads, get_type_hints

import numpy as np
import pytest
from checkpoints import TEXT, write_checkpoint

from cross_thought import SentenceEncoder
from cross_thought.errors import UserError
from cross_thought.inference.arguments import check_whole
from cross_thought.inference.embed import embed_file
from cross_thought.inference.export import export_model
from cross_thought.inference.tally import Reader, remarks

NO_NUMBERS = [0, -5, True, False, 2.5, 64.0, float("nan"), "64"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("arguments") / "model")


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> SentenceEncoder:
    return SentenceEncoder.from_pretrained(checkpoint, device="cpu")


def test_whole_numbers() -> None:
    for value in (2, 5, np.int64(5)):
        check_whole(value, name="k", least=2, most=5)
    check_whole(10**12, name="k", least=1)
    for value in (1, 6, np.float32(3), np.bool_(True), None):
        with pytest.raises(ValueError, match=r"^k .* is no whole number from 2 to 5: give one$"):
            check_whole(value, name="k", least=2, most=5)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_batch_of_no_tokens_is_refused(number: object, encoder: SentenceEncoder, tmp_path: Path) -> None:
    """By the default they were computed, or each by itself."""
    said = f"batch_tokens {number!r} is no whole number of at least 1: give one"
    for sentences in (TEXT, TEXT[0], []):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            encoder.encode(sentences, batch_tokens=number)
        assert str(error.value) == said
    (tmp_path / "text.txt").write_text("a\n")
    with pytest.raises(UserError) as refused:
        embed_file(encoder, tmp_path / "text.txt", tmp_path / "e.npy", batch_tokens=number)
    assert str(refused.value) == said
    assert not (tmp_path / "e.npy").exists()


@pytest.mark.parametrize("number", [*NO_NUMBERS, 1, 512])
def test_a_length_without_room_or_positions_is_refused(number: object, encoder: SentenceEncoder) -> None:
    with pytest.raises(ValueError, match=r"max_seq_length .* is no whole number from 2 to 511: give one"):
        encoder.max_seq_length = number
    assert encoder.max_seq_length == 511


def test_a_length_may_be_set(checkpoint: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
    whole = encoder.encode(TEXT[0])
    encoder.max_seq_length = 3
    assert not np.allclose(encoder.encode(TEXT[0]), whole)
    assert encoder.num_cut_sentences == 1


def test_an_empty_name_is_no_default(encoder: SentenceEncoder, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a\n")
    for ask in (lambda: encoder.encode("a", pooling=""), lambda: encoder.embedding_dim("")):
        with pytest.raises(ValueError, match="^pooling '' is none of mean, concat, slot0"):
            ask()
    for ask in (
        lambda: embed_file(encoder, tmp_path / "text.txt", tmp_path / "e.npy", pooling=""),
        lambda: export_model(checkpoint, tmp_path / "export", output_format="safetensors", pooling=""),
    ):
        with pytest.raises(UserError, match="^pooling '' is none of mean, concat, slot0"):
            ask()
    with pytest.raises(UserError, match="^device '' cannot be used here"):
        SentenceEncoder(encoder.encoder, encoder.tokenizer, device="")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float64", ""])
def test_numbers_of_a_file_are_float32_or_float16(precision: str, encoder: SentenceEncoder, tmp_path: Path) -> None:
    """As int8, all were zero."""
    (tmp_path / "text.txt").write_text("a\n")
    with pytest.raises(UserError, match=f"^precision '{precision}' of a file is none of float32, float16"):
        embed_file(encoder, tmp_path / "text.txt", tmp_path / "e.npy", precision=precision)
    embed_file(encoder, tmp_path / "text.txt", tmp_path / "e.npy", precision="float16")
    assert np.load(tmp_path / "e.npy").dtype == np.float16


def test_numbers_in_an_exports_files(checkpoint: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "export", output_format="safetensors")
    path = tmp_path / "export" / "tokenizer_config.json"
    path.write_text(json.dumps({"model_max_length": float("inf")}))
    assert SentenceEncoder.from_pretrained(tmp_path / "export", device="cpu").max_seq_length == 511
    (tmp_path / "export" / "config_sentence_transformers.json").write_text('{"truncate_dim": true}')
    with pytest.raises(UserError, match="truncate_dim is True, which is no number of at least 1: correct it"):
        SentenceEncoder.from_pretrained(tmp_path / "export", device="cpu")


def test_the_type_of_a_ranking_is_known_by_the_questions() -> None:
    """To whoever checks types; a string, which is a sequence, comes first."""
    hints = [get_type_hints(variant) for variant in get_overloads(SentenceEncoder.rank)]
    assert [(hint["questions"], hint["return"]) for hint in hints] == [
        (str, list[tuple[int, float]]),
        (Sequence[str], list[list[tuple[int, float]]]),
    ]


@pytest.mark.parametrize(("num_unknown", "share"), [(1, "0.05"), (680, "34"), (1999, "100")])  # not 1e+02
def test_what_is_said_of_unknown_tokens(num_unknown: int, share: str) -> None:
    model = Reader()
    assert remarks(model) == []
    model.num_tokens, model.num_unknown_tokens = 2000, num_unknown
    assert remarks(model) == [
        f"{share} % of the tokens are unknown to the vocabulary, and read as <unk> ({num_unknown} of 2000)"
    ]
