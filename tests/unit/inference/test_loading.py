"""What users load: right where it is right, and refused in a sentence, without running anything, where it is not."""

import hashlib
import json
import pickle
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TEXT, dictionary_size, random_state, write_checkpoint, write_vocabulary
from safetensors.torch import load_file, save_file

from cross_thought import SentenceEncoder
from cross_thought.data.bpe import Encoder
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.saved import load_encoder
from cross_thought.encoder.tokenizer import SentenceTokenizer
from cross_thought.errors import UserError
from cross_thought.inference.export import export_model
from cross_thought.inference.loading import build_tokenizer, find_vocabulary, load_pretrained
from cross_thought.training.checkpoints import VOCABULARY_HASH


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a checkpoint, its vocabulary and an export."""
    folder = tmp_path_factory.mktemp("models") / "model"
    write_checkpoint(folder)
    export_model(folder / "model.pt", folder / "export", output_format="safetensors")
    return folder


def test_weights_and_sizes_come_from_the_checkpoint(folder: Path) -> None:
    state = random_state(folder)
    encoder, tokenizer = load_pretrained(folder / "model.pt")
    assert encoder.config == EncoderConfig(
        vocab_size=dictionary_size(folder), num_layers=2, embed_dim=32, ffn_dim=48, num_heads=4, num_slots=3,
        segment_length=8, num_positions=512,
    )  # fmt: skip
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, state["model"][f"encoder.sentence_encoder.{name}"])
    assert not encoder.training
    assert tokenizer.vocab_size == encoder.config.vocab_size


def test_a_checkpoint_whose_segments_are_sentences_is_loaded_and_exported(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    state = torch.load(tmp_path / "model.pt", weights_only=False)
    state["args"].segment_by = "sentence"
    torch.save(state, tmp_path / "model.pt")
    export_model(tmp_path / "model.pt", tmp_path / "sentences", output_format="safetensors")
    for place in ("model.pt", "sentences"):
        assert load_pretrained(tmp_path / place)[0].config.segment_by == "sentence"


def test_a_published_checkpoint_says_less_and_may_be_in_float16(folder: Path, tmp_path: Path) -> None:
    """The authors' arguments know neither slots nor segment length: they are the published ones."""
    vocabulary = write_vocabulary(tmp_path / "vocabulary")
    config = EncoderConfig(vocab_size=dictionary_size(vocabulary), num_layers=1, embed_dim=24, ffn_dim=24)
    weights = CrossThoughtEncoder(config).half().state_dict()
    model = {f"encoder.sentence_encoder.{name}": weight for name, weight in weights.items()}
    model["classification_heads.sentence_classification_head.dense.weight"] = torch.ones(2, 2)
    torch.save({"args": Namespace(arch="roberta_base", encoder_attention_heads=12), "model": model}, tmp_path / "m.pt")
    encoder, _ = load_pretrained(tmp_path / "m.pt", vocabulary)
    assert (encoder.config.num_slots, encoder.config.segment_length, encoder.config.num_heads) == (5, 64, 12)
    assert encoder.embed_tokens.weight.dtype == torch.float32


def test_the_vocabulary_is_found_in_the_results_that_a_checkpoint_lies_in(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path / "results/bpe/vocabulary")
    for place in ("pretrain/a/seed-1/model.pt", "finetune/a/task/seed-1/best.pt"):
        assert find_vocabulary(tmp_path / "results" / place) == vocabulary
    with pytest.raises(UserError, match=r"model.pt has no dict.txt, .* beside it: name the folder .* \(--vocabulary\)"):
        find_vocabulary(tmp_path / "model.pt")


def test_ids_are_those_of_the_pipeline(folder: Path, tmp_path: Path) -> None:
    """Text, BPE and dictionary as the binarization takes them; what looks like a special symbol is text."""
    lines = [*TEXT, "", "   padded \t", "</s> <mask> <s><pad>", "Zürich § 中文 \x00 \u00a0", "a\r"]
    encoder = Encoder(folder)
    raw = encoder.encode(lines)
    rows = np.split(raw, np.flatnonzero(raw == encoder.newline_id) + 1)[:-1]
    entries = [line.split(" ")[0] for line in (folder / "dict.txt").read_text().splitlines()]
    ids = {symbol: number for number, symbol in enumerate(entries, start=4)}
    expected = [[0, *(ids.get(str(symbol), 3) for symbol in row[:-1]), 2] for row in rows]
    assert any(3 in row for row in expected)
    tokenizer = SentenceTokenizer(build_tokenizer(folder), vocab_size=dictionary_size(folder))
    tokenizer.save(tmp_path / "tokenizer.json")
    saved = SentenceTokenizer.from_file(tmp_path / "tokenizer.json", vocab_size=dictionary_size(folder))
    for candidate in (tokenizer, saved):
        padded = candidate.pad(candidate.token_ids(lines))
        assert [row[row != 1].tolist() for row in padded] == expected


class Hostile:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


def weights_without(part: str) -> Callable[[dict, Path], object]:
    """Return a change of a checkpoint that leaves weights out."""
    return lambda state, _: [state["model"].pop(name) for name in list(state["model"]) if part in name]


def set_weight(name: str, value: torch.Tensor) -> Callable[[dict, Path], object]:
    """Return a change of a checkpoint that replaces a weight."""
    return lambda state, _: state["model"].update({f"encoder.sentence_encoder.{name}": value})


NAN = torch.full((32,), float("nan"))
CHANGES = {
    "hostile": (lambda state, path: state.update(extra=Hostile(path)), "cannot be read as a checkpoint"),
    "no arguments": (lambda state, _: state.pop("args"), "is no fairseq checkpoint: it lacks `args` or `model`: take"),
    "no encoder": (weights_without("encoder."), "holds no Cross-Thought encoder ('embed_tokens.weight' is missing"),
    "RoBERTa": (
        weights_without("crossthought_layers"),
        "lacks the weights crossthought_layers.0.self_attn.q_proj.weight: it is a checkpoint of another architecture",
    ),
    "a weight missing": (weights_without("layers.1.fc2.bias"), "lacks the weights layers.1.fc2.bias"),
    "a layer missing": (weights_without("layers.0."), "holds no Cross-Thought encoder ('layers.0.fc1.weight' is miss"),
    "one weight too many": (set_weight("extra", NAN), "has the unknown weights extra"),
    "wrong shape": (
        set_weight("layers.1.fc1.weight", torch.ones(48, 31)),
        "layers.1.fc1.weight has shape (48, 31) where the other weights call for (48, 32)",
    ),
    "no rank": (set_weight("embed_tokens.weight", torch.ones(3)), "holds no Cross-Thought encoder"),
    "diverged": (set_weight("emb_layer_norm.bias", NAN), "emb_layer_norm.bias is not finite: the training diverged"),
    "heads": (lambda state, _: setattr(state["args"], "encoder_attention_heads", 5), "its settings do not fit togeth"),
    "no heads": (lambda state, _: setattr(state["args"], "encoder_attention_heads", 0), "its settings do not fit tog"),
    "no number": (lambda state, _: setattr(state["args"], "num_slots", "3"), "num_slots is '3', which is no number"),
    "positions": (lambda state, _: setattr(state["args"], "num_positions", 64), "num_positions is 64 but the weights"),
    "dictionary": (
        lambda state, _: state.update({VOCABULARY_HASH: hashlib.sha256(b"other").hexdigest()}),
        "was trained with another vocabulary than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_checkpoint_is_refused_in_a_sentence(folder: Path, tmp_path: Path, change: str) -> None:
    apply, message = CHANGES[change]
    state = random_state(folder)
    trace = tmp_path / "ran"
    apply(state, trace)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UserError) as caught:
        load_pretrained(tmp_path / "model.pt", folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "model.pt"))
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_files_that_are_no_checkpoint_are_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "model.pt").read_bytes()
    trace = tmp_path / "ran"
    for name, content in {
        "cut.pt": whole[: len(whole) // 2],
        "empty.pt": b"",
        "text.pt": b"no checkpoint\n",
        "pickle.pt": pickle.dumps(Hostile(trace)),
        "list.pt": None,
    }.items():
        if content is None:
            torch.save([1, 2], tmp_path / name)
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"^{tmp_path / name} "):
            load_pretrained(tmp_path / name, folder)
    with pytest.raises(UserError, match="does not exist"):
        load_pretrained(tmp_path / "missing.pt")
    assert not trace.exists()


def test_another_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_vocabulary(tmp_path / "other", text=["just a few words"])
    with pytest.raises(UserError, match=rf"has \d+ symbols, but {other}/dict.txt \d+: name the folder of the vocab"):
        load_pretrained(folder / "model.pt", other)
    with pytest.raises(UserError, match=f"^{tmp_path}/dict.txt cannot be read"):
        load_pretrained(folder / "model.pt", tmp_path)


@pytest.mark.parametrize("name", ["encoder.json", "vocab.bpe", "dict.txt"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"a b c d e\n" * 400, b'{"a": "b"}', b"1 2\n1 2\n"])
def test_a_damaged_vocabulary_is_refused(folder: Path, tmp_path: Path, name: str, content: bytes) -> None:
    for file in ("encoder.json", "vocab.bpe", "dict.txt"):
        shutil.copy(folder / file, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{tmp_path}"):
        load_pretrained(folder / "model.pt", tmp_path)


def test_an_export_loads_the_same(folder: Path) -> None:
    encoder, tokenizer = load_pretrained(folder / "model.pt")
    exported, exported_tokenizer = load_pretrained(folder / "export")
    assert exported.config == encoder.config
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, exported.state_dict()[name])
    assert exported_tokenizer.token_ids(TEXT) == tokenizer.token_ids(TEXT)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"", "model.safetensors is damaged"),
        ("model.safetensors", b"\xff" * 100, "model.safetensors is damaged"),
        ("tokenizer.json", b"{}", "tokenizer.json is damaged"),
        ("config.json", b"[1]", "config.json is no config of an export"),
        ("config.json", b"\xff", "config.json is no config of an export"),
        ("config.json", b'{"encoder": {"num_layer": 2}}', "config.json has the unknown setting 'num_layer'"),
        ("config.json", b'{"encoder": {"num_layers": 1000000000}}', "num_layers is 1000000000 but the weights have 2"),
        ("config.json", b'{"encoder": {"num_heads": null}}', "num_heads is None, which is no number of its kind"),
        ("config.json", b'{"encoder": {"segment_by": 28}}', "segment_by is 28, which is no text"),
        ("config.json", b'{"encoder": {"num_heads": 1e3}}', "num_heads is 1000.0, which is no number of its kind"),
        ("config.json", b'{"encoder": {"segment_by": "line"}}', "segment_by 'line' is none of tokens, sentence"),
        ("config.json", b'{"encoder": {"pad_id": 4000000}}', "its settings do not fit together"),
        (
            "config.json",
            b'{"encoder": {"bos_id": 4000000}}',
            "its settings do not fit together (bos_id is 4000000, and",
        ),
        ("config.json", b'{"encoder": {"eos_id": -1}}', "its settings do not fit together (eos_id is -1, and ids end"),
        ("config.json", b'{"encoder": {"num_heads": -1}}', "num_heads -1 must be at least 1"),
        ("config.json", None, "has no config.json: give a fairseq checkpoint, or a folder that"),
    ],
)
def test_a_damaged_export_is_refused(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    shutil.copytree(folder / "export", tmp_path / "export")
    if content is None:
        (tmp_path / "export" / name).unlink()
    else:
        (tmp_path / "export" / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_pretrained(tmp_path / "export")
    assert message in str(caught.value)


def test_weights_lie_where_torch_puts_them_whatever_stands_before_them(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "export/model.safetensors")
    for length in range(0, 64, 8):  # the header ends at a multiple of 8 bytes
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt", "more": "x" * length})
        encoder, _ = load_encoder(folder / "export/config.json", tmp_path / "model.safetensors")
        assert all(weight.data_ptr() % 64 == 0 for weight in encoder.parameters())


def test_an_exports_config_tells_its_architecture(folder: Path) -> None:
    config = json.loads((folder / "export/config.json").read_text())
    assert config["encoder"]["num_slots"] == 3
    assert config["model_type"] == "cross_thought"


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 100\n"


def test_what_people_take_for_a_model_is_told_of_by_its_kind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roberta = tmp_path / "roberta"
    roberta.mkdir()
    (roberta / "config.json").write_text('{"model_type": "roberta", "architectures": ["RobertaModel"]}')
    with pytest.raises(UserError, match="roberta holds a model of Hugging Face's type 'roberta', no Cross-Thought"):
        load_pretrained(roberta)
    with pytest.raises(UserError, match=r"model.safetensors holds weights alone: give the folder of the export that"):
        load_pretrained(folder / "export/model.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^results/model.pt does not exist: give the path of a fairseq checkpoint"):
        load_pretrained(Path("results/model.pt"))
    with pytest.raises(UserError, match="export is an export, which has its own tokenizer: leave the vocabulary out"):
        SentenceEncoder.from_pretrained(folder / "export", vocabulary=folder)


@pytest.mark.parametrize(
    "name",
    ["model.pt", "encoder.json", "vocab.bpe", "dict.txt", "model.safetensors", "config.json", "tokenizer.json"],
)  # fmt: skip
def test_a_git_lfs_pointer_is_called_so(folder: Path, tmp_path: Path, name: str) -> None:
    """Each is what git leaves in place of the file where git-lfs is not installed."""
    is_export = (folder / "export" / name).exists()
    model = tmp_path / "model"
    shutil.copytree(folder / "export" if is_export else folder, model)
    (model / name).write_bytes(LFS_POINTER)
    with pytest.raises(UserError, match=f"{name} is a git-lfs pointer, not the file itself: run `git lfs pull`"):
        load_pretrained(model if is_export else model / "model.pt")
