"""Folders of Sentence Transformers that are not what they say are refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_models import save
from sentence_transformers.base.modules import Dense, Normalize

from cross_thought import SentenceEncoder
from cross_thought.errors import UserError


def test_a_folder_cannot_reach_outside_itself(export: Path, tmp_path: Path) -> None:
    save(tmp_path / "saved", export, Normalize())
    modules = json.loads((tmp_path / "saved/modules.json").read_text())
    for change, message in (
        ({"path": "../elsewhere"}, "lies in '../elsewhere', which is outside the folder"),
        ({"type": "os.system"}, "has 'os.system' as its module 1, which is not applied here"),
        ({"type": "theirs.Normalize"}, "has 'theirs.Normalize' as its module 1, which is not applied here"),
    ):
        (tmp_path / "saved/modules.json").write_text(json.dumps([modules[0], modules[1] | change]))
        with pytest.raises(UserError, match=message):
            SentenceEncoder.from_pretrained(tmp_path / "saved")
    for content, message in (
        ("{", "modules.json is damaged"),
        ("{}", "modules.json is no JSON list"),
        ("[1]", "modules.json is no list of modules with `type` and `path`"),
        (
            '[{"type": "sentence_transformers.base.modules.Transformer", "path": ""}]',
            "which is no Cross-Thought encoder",
        ),
    ):
        (tmp_path / "saved/modules.json").write_text(content)
        with pytest.raises(UserError, match=message):
            SentenceEncoder.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config_sentence_transformers.json", {"prompts": ["a"]}, r"prompts are \['a'\], not texts by their names"),
        ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "is 'q', but prompts have no such name"),
        (
            "config_sentence_transformers.json",
            {"truncate_dim": 0},
            "truncate_dim is 0, which is no number of at least 1",
        ),
        ("tokenizer_config.json", {"model_max_length": 1}, "model_max_length is 1, but a sentence has 2 tokens more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    export: Path, tmp_path: Path, name: str, change: dict, message: str
) -> None:
    shutil.copytree(export, tmp_path / "export")
    document = json.loads((tmp_path / "export" / name).read_text())
    (tmp_path / "export" / name).write_text(json.dumps(document | change))
    with pytest.raises(UserError, match=message):
        SentenceEncoder.from_pretrained(tmp_path / "export")


def test_a_dense_must_fit_its_config(export: Path, tmp_path: Path) -> None:
    save(tmp_path / "saved", export, Dense(32, 4))
    dense = tmp_path / "saved/1_Dense"
    whole = (dense / "config.json").read_text()
    (dense / "config.json").write_text(json.dumps(json.loads(whole) | {"out_features": 5}))
    with pytest.raises(UserError, match="has weights of the shapes"):
        SentenceEncoder.from_pretrained(tmp_path / "saved")
    (dense / "config.json").write_text(whole)
    weights = load_file(dense / "model.safetensors")
    save_file(weights | {"linear.bias": torch.full((4,), float("nan"))}, dense / "model.safetensors")
    with pytest.raises(UserError, match=r"linear\.bias is not finite"):
        SentenceEncoder.from_pretrained(tmp_path / "saved")
    (dense / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"1_Dense has no model\.safetensors: save the model again"):
        SentenceEncoder.from_pretrained(tmp_path / "saved")
