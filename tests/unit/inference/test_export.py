"""Exports: what a folder holds, what its card tells, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import add_lm_head, write_checkpoint, write_vocabulary

from cross_thought import SentenceEncoder
from cross_thought.errors import UserError
from cross_thought.files import write_json
from cross_thought.inference.export import _CODE, export_model
from cross_thought.inference.transformers_model import CrossThoughtForMaskedLM

TASKS_TABLE = """kind,model,task,split,metric,mean,sd,n,num_examples
model,mine,RTE,valid,accuracy,61.2345,1.5,3,277
model,other,RTE,valid,accuracy,50,,1,277
majority,majority,RTE,valid,accuracy,52.7,,,277
"""
EMBEDDINGS_TABLE = """kind,model,task,split,metric,mean,sd,n,num_examples
model,mine,STS-B,valid,spearman,41.26,,1,1500
lexical,tf-idf,STS-B,valid,spearman,70,,,1500
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a checkpoint of the workflow, in a results folder with tables."""
    results = tmp_path / "results"
    write_vocabulary(results / "bpe/vocabulary")
    (results / "tables").mkdir()
    (results / "tables/tasks.csv").write_text(TASKS_TABLE)
    (results / "tables/embeddings.csv").write_text(EMBEDDINGS_TABLE)
    place = results / "pretrain/mine/seed-1"
    place.mkdir(parents=True)
    write_checkpoint(tmp_path / "scratch").rename(place / "model.pt")
    return place / "model.pt"


def test_the_card_tells_what_the_results_tell(checkpoint: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "export", output_format="sentence-transformers", pooling="concat")
    card = (tmp_path / "export/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    assert "# mine: a Cross-Thought sentence encoder" in card
    assert "| RTE | valid | accuracy | 61.2 ± 1.5 | 3 | 277 |" in card
    assert "| STS-B | valid | spearman | 41.3 | 1 | 1500 |" in card
    assert "50.0" not in card
    assert "| `task` | masked_lm |" in card
    for heading in ("Use", "Encoder", "Training", "Results", "Limits", "Versions"):
        assert f"\n## {heading}\n" in card
    code = {path.name for path in (tmp_path / "export").glob("*.py")}
    assert code == set(re.findall(r"`(\w+\.py)`", card))
    assert json.loads((tmp_path / "export/config.json").read_text())["pooling"] == "concat"


@pytest.mark.parametrize(("gpus", "said"), [(["A100, 80 GB"] * 2, "A100, 80 GB; A100, 80 GB"), ([], "no GPU")])
def test_the_card_names_the_machine_of_the_results(
    checkpoint: Path, tmp_path: Path, gpus: list[str], said: str
) -> None:
    made = {"commit": "abc", "python": "3.13", "packages": {"torch": "2.9"}, "cpu": "EPYC", "gpus": gpus}
    write_json(tmp_path / "results/provenance.json", {"made": made, "data": []})
    export_model(checkpoint, tmp_path / "export", output_format="safetensors")
    card = (tmp_path / "export/README.md").read_text(encoding="utf-8")
    assert f"\n- results made with commit abc, Python 3.13, torch 2.9, on EPYC, {said}\n" in card


def test_the_card_tells_nothing_of_a_table_that_an_earlier_config_left(checkpoint: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "results/provenance.json", {"data": [], "numbers": [{"table": "tasks"}]})
    export_model(checkpoint, tmp_path / "export", output_format="safetensors")
    card = (tmp_path / "export/README.md").read_text(encoding="utf-8")
    assert "| RTE | valid | accuracy | 61.2 ± 1.5 | 3 | 277 |" in card
    assert "STS-B" not in card


def test_the_document_lists_the_code_that_an_export_runs() -> None:
    document = (Path(__file__).parents[3] / "docs/export.md").read_text(encoding="utf-8")
    listed = document.split("runs its Python files", 1)[1].split("\n\n", 1)[0]
    assert sorted(re.findall(r"`(\w+\.py)`", listed)) == sorted(_CODE.values())


def test_safetensors_alone_carry_no_code(checkpoint: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "export", output_format="safetensors")
    names = sorted(path.name for path in (tmp_path / "export").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    card = (tmp_path / "export/README.md").read_text(encoding="utf-8")
    assert "trust_remote_code" not in card
    assert (
        "The model is not loaded there (`AutoModel`), nor in Sentence Transformers, for this folder has no code" in card
    )


def test_a_folders_whole_name_is_on_the_card(checkpoint: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "e-1.5", output_format="safetensors")
    export_model(tmp_path / "e-1.5", tmp_path / "again", output_format="safetensors")
    assert "\n# e-1.5: a Cross-Thought sentence encoder" in (tmp_path / "again/README.md").read_text(encoding="utf-8")


def test_an_export_is_replaced_and_nothing_else(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        export_model(checkpoint, tmp_path / "export", output_format="safetensors")
    for config in (None, "{}", "[1]", "no JSON", '{"model_type": "roberta"}'):
        folder = tmp_path / "theirs"
        folder.mkdir(exist_ok=True)
        (folder / "thesis.txt").write_text("years")
        if config is not None:
            (folder / "config.json").write_text(config)
        with pytest.raises(UserError, match="is there already and is no export: name another folder"):
            export_model(checkpoint, folder, output_format="safetensors")
        assert (folder / "thesis.txt").read_text() == "years"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is the folder that you are in: name one below it"):
        export_model(checkpoint, Path("."), output_format="safetensors")


def test_results_and_names_that_are_not_there_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no-results has no tables/: name a results folder of the workflow"):
        export_model(checkpoint, tmp_path / "e", output_format="safetensors", results=tmp_path / "no-results")
    with pytest.raises(UserError, match="tells of no model 'nobody': choose from .*mine, other"):
        export_model(checkpoint, tmp_path / "e", output_format="safetensors", model_name="nobody")
    with pytest.raises(UserError, match=r"seed-1 has no config.json: give a fairseq checkpoint, or a folder that"):
        export_model(checkpoint.parent, tmp_path / "e", output_format="safetensors")
    with pytest.raises(UserError, match="format 'gguf' is none of safetensors, sentence-transformers, onnx"):
        export_model(checkpoint, tmp_path / "e", output_format="gguf")
    assert not (tmp_path / "e").exists()


def test_a_model_cut_by_sentence_keeps_its_lm_head(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    add_lm_head(checkpoint)
    state = torch.load(checkpoint, weights_only=False)
    vars(state["args"]).update(task="masked_sentences", segment_by="sentence")
    torch.save(state, checkpoint)
    export_model(checkpoint, tmp_path / "export", output_format="sentence-transformers")
    model = CrossThoughtForMaskedLM.from_pretrained(tmp_path / "export").eval()
    tokens = torch.tensor(
        [[0, *range(10, 21), 2, 21, 22, 2, *range(23, 28), 2], [0, 30, 31, 2, *range(32, 36), *[1] * 14]]
    )
    with torch.no_grad():
        logits = model(tokens).logits
        ours = SentenceEncoder.from_pretrained(tmp_path / "export", device="cpu").encoder
        expected = model.lm_head(ours.encode_streams(tokens, start_position=1), ours.embed_tokens.weight)
    assert ours.config.segment_by == "sentence"
    assert torch.allclose(logits, expected, atol=1e-4)
    model.settings = replace(model.settings, segment_by="tokens")
    assert not torch.allclose(model(tokens).logits, expected, atol=1e-2)
