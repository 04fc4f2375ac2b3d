"""Fine-tuned checkpoints and exports that are not what they say: refused in a sentence, and nothing in them runs."""

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from checkpoints import fine_tuned_state, write_checkpoint, write_vocabulary
from safetensors.torch import load_file, save_file

from cross_thought import SentenceClassifier, SentenceEncoder
from cross_thought.errors import UserError

load = partial(SentenceClassifier.from_pretrained, device="cpu")


def test_a_model_that_was_not_fine_tuned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.pt has no classification head: give a checkpoint that was fine-tuned"):
        load(write_checkpoint(tmp_path))


class RunsCode:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch it-ran",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = fine_tuned_state(write_vocabulary(tmp_path / "v"))
    torch.save(state | {"fine_tuned_on": RunsCode()}, "best.pt")
    with pytest.raises(
        UserError,
        match="it holds posix.system, which could run code and is no part of a checkpoint, and was not loaded",
    ):
        load(Path("best.pt"), vocabulary="v")
    assert not Path("it-ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ["a", "b"]}, "its head has 3 outputs for 2 labels"),
        ({"labels": None}, "labels is None, which is no labels of a fine-tuned model"),
        ({"labels": ["a", "b\tc", "d"]}, "which is no labels of a fine-tuned model"),
        (
            {"kind": "answer_selection", "labels": None},
            "it was fine-tuned on answer_selection, and has a classification",
        ),
        ({"kind": "any"}, "kind is 'any', which is no kind of a fine-tuned model"),
        ({"score_scale": float("nan")}, "score_scale is nan, which is no score_scale"),
        ({"score_scale": 10**400}, "score_scale is 1000"),
        ({"metrics": {"valid": {"accuracy": -(10**400)}}}, "which is no metrics of a fine-tuned model"),
        ({"num_sentences": 3}, "num_sentences is 3"),
        ({"columns": [0]}, "columns is (0,)"),
        ({"metrics": {"valid": [1]}}, "metrics is {'valid': [1]}"),
        ({"more": 1}, "what it was fine-tuned on is not described by the known keys"),
    ],
)
def test_a_checkpoint_that_tells_nonsense_is_refused(change: dict, said: str, tmp_path: Path) -> None:
    state = fine_tuned_state(write_vocabulary(tmp_path))
    torch.save(state | {"fine_tuned_on": state["fine_tuned_on"] | change}, tmp_path / "best.pt")
    with pytest.raises(UserError, match=re.escape(said)):
        load(tmp_path / "best.pt")


HEAD = "classification_heads.sentence_classification_head"


@pytest.mark.parametrize(
    ("config", "weights", "said"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, {}, "its head has 3 outputs for 2 labels"),
        ({"id2label": {"0": "a", "1": "b", "3": "c"}}, {}, "not a name for each number from 0"),
        ({"id2label": ["a", "b", "c"]}, {}, "not a name for each number from 0"),
        ({"id2label": {"0": "a", "1": "b", "2": {"c": 1}}}, {}, "which is no labels of a fine-tuned model"),
        (
            {"classifier_activation": "__import__('os').system('touch it-ran')"},
            {},
            "is none of tanh, relu, gelu, linear",
        ),
        ({"classifier_activation": {"a": 1}}, {}, "is none of tanh, relu, gelu, linear"),
        (
            {"problem_type": "multi_label_classification"},
            {},
            "its problem_type is 'multi_label_classification', where a classification has 'single_label_classification'",
        ),
        ({"fine_tuned_on": "RTE"}, {}, "fine_tuned_on is not as an export has it"),
        (
            {"fine_tuned_on": {"kind": "classification", "labels": ["a"]}},
            {},
            "fine_tuned_on is not as an export has it",
        ),
        ({"fine_tuned_on": None}, {}, "it has a classification head, and nothing says what it was fine-tuned on"),
        ({}, {"out_proj.bias": torch.zeros(2)}, "the classification head has weights of the shapes"),
        ({}, {"out_proj.bias": torch.full((3,), torch.nan)}, "out_proj.bias is not finite"),
        ({}, {"dense.weight": torch.zeros(24, 16)}, "its head reads 16 numbers, its encoder gives 32"),
        ({}, {"dense.bias": None}, "the classification head has weights of the shapes"),
        ({}, {"dense.weight": None}, "the classification head lacks weights"),
        ({}, {"more": torch.zeros(1)}, "the classification head has weights of the shapes"),
    ],
)
def test_a_hostile_export_is_refused(
    config: dict, weights: dict, said: str, pairs_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = pairs_model.parent / "export"
    tensors = load_file(source / "model.safetensors") | {f"{HEAD}.{name}": weight for name, weight in weights.items()}
    save_file({name: weight for name, weight in tensors.items() if weight is not None}, "model.safetensors")
    Path("config.json").write_text(json.dumps(json.loads((source / "config.json").read_text()) | config))
    Path("tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    for opened in (load, lambda path: SentenceEncoder.from_pretrained(path, device="cpu")):
        with pytest.raises(UserError, match=re.escape(said)):
            opened(tmp_path)
    assert not Path("it-ran").exists()
