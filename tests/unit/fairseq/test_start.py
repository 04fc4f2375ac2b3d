"""Checkpoints that a pre-training starts from: of fairseq's RoBERTas, old and new, of Hugging Face's, and of our own."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cross_thought.config import load_config
from cross_thought.data.starts import start_files
from cross_thought.errors import UserError
from cross_thought.fairseq.start import write_start
from cross_thought.training.checkpoints import export_model, load_checkpoint
from cross_thought.training.roberta import read_hugging_face
from tests.unit.checkpoints import TEXT, write_vocabulary
from tests.unit.robertas import hugging_face_roberta, token_ids, write_old_fairseq

pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
PREFIX = "encoder.sentence_encoder."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a vocabulary, a RoBERTa of Hugging Face's, and the same as fairseq wrote it in 2019."""
    folder = tmp_path_factory.mktemp("made")
    vocabulary = write_vocabulary(folder / "vocabulary")
    hugging_face_roberta(vocabulary, folder / "roberta")
    (folder / "old").mkdir()
    write_old_fairseq(dict(read_hugging_face(folder / "roberta").weights), folder / "old" / "model.pt")
    shutil.copy(vocabulary / "dict.txt", folder / "old")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def start(place: Path, vocabulary: Path, *, seed: int = 1, **changes: object) -> dict:
    """Return the checkpoint that a model starts from."""
    sizes = {"num_layers": 4, "embed_dim": 32, "ffn_dim": 48, "num_heads": 4, "num_positions": 64}
    model = load_config({})["models"]["cross_thought"] | sizes | changes
    output = vocabulary.parent / "start.pt"
    files = [Path(path) for path in start_files(str(place), data_dir=None)]
    write_start(files, vocabulary, output, name="mine", model=model, seed=seed)
    return load_checkpoint(output)


def test_all_forms_make_the_same_start(folder: Path, capsys: pytest.CaptureFixture) -> None:
    vocabulary = folder / "vocabulary"
    expected = start(folder / "roberta", vocabulary)
    assert "4 of its 4 layers; cross layers copies of its last layer; LM head its own" in capsys.readouterr().out
    with tarfile.open(folder / "roberta.tar.gz", "w:gz") as archive:
        archive.add(folder / "old", "roberta.base")
    shutil.copytree(folder / "roberta", folder / "saved-anew")
    tokens, merges = token_ids(vocabulary), (folder / "roberta/merges.txt").read_text().splitlines()[1:]
    document = {"added_tokens": [{"content": "<mask>", "id": tokens.pop("<mask>")}], "model": {"vocab": tokens}}
    document["model"]["merges"] = [merge.split(" ") for merge in merges]
    (folder / "saved-anew/tokenizer.json").write_text(json.dumps(document))
    (folder / "saved-anew/vocab.json").unlink()
    for place in ("old/model.pt", "roberta.tar.gz", "saved-anew"):
        found = start(folder / place, vocabulary)["model"]
        assert found.keys() == expected["model"].keys()
        for name, weight in expected["model"].items():
            assert torch.equal(found[name], weight), (place, name)
    assert not list(folder.glob(".unpacked*"))


def test_a_start_has_the_same_bytes_each_time(folder: Path) -> None:
    contents = []
    for seed in (1, 1, 2):
        start(folder / "roberta", folder / "vocabulary", seed=seed, cross_layers="random")
        contents.append((folder / "start.pt").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_cross_layers_are_copied_or_drawn(folder: Path) -> None:
    copied, drawn = (
        start(folder / "roberta", folder / "vocabulary", cross_layers=kind)["model"] for kind in ("copy", "random")
    )
    for place in range(2):
        cross, last = f"{PREFIX}crossthought_layers.{place}.", f"{PREFIX}layers.3."
        names = [name.removeprefix(last) for name in copied if name.startswith(last)]
        assert len(names) == 16
        for name in names:
            assert torch.equal(copied[cross + name], copied[last + name])
        assert drawn[f"{cross}fc1.weight"].std().item() == pytest.approx(0.15, rel=0.1)  # init_std of the demo
        assert drawn[f"{cross}self_attn.q_proj.weight"].std().item() == pytest.approx(0.1, rel=0.1)
        assert torch.equal(drawn[f"{cross}final_layer_norm.weight"], torch.ones(32))


def test_positions_are_cut_and_the_last_one_stands_for_those_beyond(folder: Path) -> None:
    theirs = read_hugging_face(folder / "roberta").weights[f"{PREFIX}embed_positions.weight"]
    for num_positions, rows in ((64, [*range(2, 66), 65, 65]), (20, range(2, 24))):
        found = start(folder / "roberta", folder / "vocabulary", num_positions=num_positions)
        assert torch.equal(found["model"][f"{PREFIX}embed_positions.weight"], theirs[list(rows)])


def test_a_roberta_without_its_head_gets_a_drawn_one(folder: Path, capsys: pytest.CaptureFixture) -> None:
    hugging_face_roberta(folder / "vocabulary", folder / "headless", with_head=False)
    found = start(folder / "headless", folder / "vocabulary")["model"]
    assert "LM head drawn, for it has none" in capsys.readouterr().out
    assert torch.equal(found["encoder.lm_head.weight"], found[f"{PREFIX}embed_tokens.weight"])
    assert found["encoder.lm_head.dense.weight"].std().item() == pytest.approx(0.15, rel=0.1)


@pytest.mark.parametrize("with_head", [True, False])
def test_rows_without_a_token_are_left_out(with_head: bool, folder: Path, capsys: pytest.CaptureFixture) -> None:
    vocabulary, num_tokens = folder / "vocabulary", len(token_ids(folder / "vocabulary"))
    roberta = hugging_face_roberta(vocabulary, folder / "padded", with_head=with_head)
    expected = start(folder / "padded", vocabulary)["model"]
    roberta.resize_token_embeddings(num_tokens + 1, pad_to_multiple_of=64)
    roberta.save_pretrained(folder / "padded")
    found = start(folder / "padded", vocabulary)["model"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    num_rows = roberta.config.vocab_size
    assert num_rows > num_tokens
    said = f"{num_rows - num_tokens} rows of its {num_rows} words are no token's: left out"
    assert said in capsys.readouterr().out
    tokens = token_ids(vocabulary) | {"<new>": num_tokens}
    (folder / "padded/vocab.json").write_text(json.dumps(tokens))
    with pytest.raises(UserError, match=rf"entry {num_tokens} is '<new>' there, missing here; set bpe"):
        start(folder / "padded", vocabulary)


def test_a_cross_thought_checkpoint_keeps_cross_layers_and_positions(folder: Path) -> None:
    vocabulary = folder / "vocabulary"
    first = start(folder / "roberta", vocabulary, cross_layers="random")
    export_model(folder / "start.pt", folder / "ours.pt", dictionary=vocabulary / "dict.txt")
    found = start(folder / "ours.pt", vocabulary, num_layers=2, num_positions=20)["model"]
    ours = first["model"]
    assert torch.equal(found[f"{PREFIX}embed_positions.weight"], ours[f"{PREFIX}embed_positions.weight"][:22])
    for mine, original in (("layers.1.", "layers.2."), ("crossthought_layers.0.", "crossthought_layers.0.")):
        assert torch.equal(found[f"{PREFIX}{mine}fc2.weight"], ours[f"{PREFIX}{original}fc2.weight"])
    own = (
        r"ours\.pt has cross layers of its own, which are taken, but models\.mine\.cross_layers is random: leave it out"
    )
    with pytest.raises(UserError, match=own):
        start(folder / "ours.pt", vocabulary, cross_layers="random")
    (vocabulary / "dict.txt").write_text((vocabulary / "dict.txt").read_text().replace(" ", " 9"))
    with pytest.raises(UserError, match=r"ours\.pt was trained with another vocabulary than .*dict\.txt: set bpe and"):
        start(folder / "ours.pt", vocabulary)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_layers": 5}, "has 4 layers, the config's model 5: set models.mine.num_layers to 4 or less"),
        ({"num_positions": 65}, "has 64 positions, the config's model 65: set models.mine.num_positions to 64 or less"),
        ({"embed_dim": 64}, "has states of width 32, the config's model 64: set models.mine.embed_dim to 32"),
        ({"ffn_dim": 64}, "has feed-forward layers of width 48, the config's model 64: set models.mine.ffn_dim to 48"),
        ({"num_heads": 8}, "has 4 attention heads, the config's model 8: set models.mine.num_heads to 4"),
    ],
)
def test_other_sizes_are_refused(folder: Path, changes: dict, sentence: str) -> None:
    for place in ("roberta", "old/model.pt"):
        with pytest.raises(UserError, match=re.escape(f"{folder / place} {sentence}") + "$"):
            start(folder / place, folder / "vocabulary", **changes)
    assert not (folder / "start.pt").exists()


def test_another_vocabulary_is_refused(folder: Path) -> None:
    other = write_vocabulary(folder / "other", text=[line[::-1] for line in TEXT])
    with pytest.raises(
        UserError, match=r"old/model\.pt has another vocabulary than .*other/dict\.txt: entry \d+ is '\d+"
    ):
        start(folder / "old/model.pt", other)
    with pytest.raises(UserError, match=r"roberta has another vocabulary than .*: entry \d+ is '.+' there, '.+' here"):
        start(folder / "roberta", other)
    # the same tokens put together otherwise
    merges = (folder / "roberta/merges.txt").read_text().splitlines()
    (folder / "roberta/merges.txt").write_text("\n".join([*merges[:2], merges[3], merges[2], *merges[4:], ""]))
    with pytest.raises(
        UserError, match=r"has another vocabulary than .*vocab\.bpe: entry 1 is '. .' there, '. .' here"
    ):
        start(folder / "roberta", folder / "vocabulary")
    (folder / "old/dict.txt").unlink()
    with pytest.raises(
        UserError, match=r"old/model\.pt has no dict\.txt beside it, so its vocabulary cannot be held against"
    ):
        start(folder / "old/model.pt", folder / "vocabulary")


def change_config(key: str, value: object, folder: Path) -> None:
    config = json.loads((folder / "roberta/config.json").read_text())
    (folder / "roberta/config.json").write_text(json.dumps(config | {key: value}))


def change_weights(folder: Path, *, without: str = "", **more: torch.Tensor) -> None:
    path = folder / "roberta/model.safetensors"
    weights = {key: weight for key, weight in load_file(path).items() if not without or without not in key}
    save_file(weights | more, path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: change_config("model_type", "bert", folder), "model_type in its config.json is 'bert', but"),
        (lambda folder: change_config("hidden_act", "relu", folder), "hidden_act in its config.json is 'relu', but"),
        (lambda folder: (folder / "roberta/config.json").write_text("{"), "config.json is damaged"),
        (lambda folder: (folder / "roberta/vocab.json").write_text('{"<s>": "a"}'), "vocab.json is damaged"),
        (lambda folder: (folder / "roberta/vocab.json").write_text('{"<s>": [0]}'), "vocab.json is damaged"),
        (lambda folder: (folder / "roberta/vocab.json").write_text("{}"), "entry 0 is missing there, '<s>' here"),
        (lambda folder: (folder / "roberta/model.safetensors").write_bytes(b"no"), "model.safetensors cannot be read"),
        (lambda folder: change_weights(folder, without="layer.2.intermediate"), "lacks the weights .*layers.2.fc1.bias"),
        (lambda folder: change_weights(folder, without="word_embeddings"), "holds no RoBERTa: give a checkpoint"),
        (lambda folder: change_weights(folder, extra=torch.ones(2)), "has the weights extra, which this encoder has not"),
        (
            lambda folder: change_weights(folder, **{"lm_head.decoder.weight": torch.ones(2, 32)}),
            "has an LM head with word weights of its own",
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_roberta_is_refused(folder: Path, change: object, sentence: str) -> None:
    change(folder)
    with pytest.raises(UserError, match=sentence):
        start(folder / "roberta", folder / "vocabulary")


def test_another_number_in_layer_norm_is_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    change_config("layer_norm_eps", 1e-12, folder)
    start(folder / "roberta", folder / "vocabulary")
    assert "roberta adds 1e-12 in LayerNorm, this encoder 1e-05" in capsys.readouterr().out
