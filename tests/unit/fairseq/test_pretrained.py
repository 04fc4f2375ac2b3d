"""The held-out text as the model gets it, and as people read it."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from cross_thought.data.binarize import DatasetWriter
from cross_thought.fairseq.pretrained import Dictionary, Spelling, held_out_documents, load_pretrained


def test_documents_end_at_empty_lines(tmp_path: Path) -> None:
    lines = [[7, 8, 2], [9, 2], [2], [2], [7, 2], [2], [8, 9, 2]]
    with DatasetWriter(tmp_path / "valid", dictionary_size=20) as writer:
        writer.write(np.concatenate(lines), np.array([len(line) for line in lines]))
    documents = [document.tolist() for document in held_out_documents(tmp_path, bos_id=0)]
    assert documents == [[0, 7, 8, 2, 9, 2], [0, 7, 2], [0, 8, 9, 2]]


@pytest.fixture
def spelling(tmp_path: Path) -> Spelling:
    """Return the spelling of a vocabulary of five symbols, one of them half a character."""
    symbols = ["Hello", "Ġworld", "Ġ:", "\u00c3", "\u00b6"]  # the last two are the bytes of o with two dots
    (tmp_path / "encoder.json").write_text(json.dumps({symbol: number for number, symbol in enumerate(symbols)}))
    (tmp_path / "dict.txt").write_text("".join(f"{number} {9 - number}\n" for number in range(len(symbols))))
    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    dictionary.add_symbol("<mask>")
    return Spelling(dictionary, tmp_path)


def test_spelling(spelling: Spelling) -> None:
    mask = 9
    assert spelling.text([0, 4, 5, 2, 4, mask, 6, 2]) == "Hello world Hello [mask] :"
    assert spelling.text([7, 8]) == "\u00f6"
    assert spelling.text([8, 5]) == "\ufffd world"
    assert [spelling.is_word(id_) for id_ in (0, 4, 5, 6, mask)] == [False, False, True, False, False]
    assert spelling.text(torch.tensor([4, 5])) == "Hello world"


def test_a_checkpoint_from_before_a_flag_was_there(spelling: Spelling, tmp_path: Path) -> None:
    from cross_thought.fairseq.model import RegisteredEncoder, cross_thought_tiny

    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    dictionary.add_symbol("<mask>")
    args = Namespace(arch="cross_thought_tiny", max_positions=30)
    cross_thought_tiny(args)
    weights = RegisteredEncoder(args, dictionary).state_dict()
    del args.bfloat16, args.checkpoint_activations
    model = {f"encoder.{name}": weight for name, weight in weights.items()}
    torch.save({"args": args, "model": model}, tmp_path / "model.pt")
    encoder, _ = load_pretrained(tmp_path / "model.pt", tmp_path)
    assert not encoder.args.bfloat16
    assert not encoder.sentence_encoder.checkpoint_activations
    assert torch.equal(encoder.lm_head.weight, weights["lm_head.weight"])
