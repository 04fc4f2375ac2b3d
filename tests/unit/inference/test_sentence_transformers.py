"""Exports in Sentence Transformers: equal to ours, at k = 5 and T = 64, with modules behind or not; what it refuses."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TEXT
from safetensors.torch import load_file, save_file
from sentence_models import load, save
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Dropout, Pooling
from transformers import AutoTokenizer

from cross_thought import SentenceEncoder
from cross_thought.__main__ import main
from cross_thought.encoder.tokenizer import SentenceTokenizer
from cross_thought.errors import UserError
from cross_thought.inference.export import export_model

SENTENCES = [*TEXT, "a", "", "  the river ", "one </s> two <mask>", " ".join(TEXT) * 2]


@pytest.fixture(scope="module", autouse=True)
def own_handler_of_sigterm() -> object:
    """Put the handler back: the command sets its own."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def command(folder: Path, tmp_path: Path, *options: str) -> np.ndarray:
    """Embed the sentences by the command."""
    (tmp_path / "sentences.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    output = tmp_path / "embeddings.npy"
    output.unlink(missing_ok=True)
    main(
        ["embed", "--model", str(folder), "--input", str(tmp_path / "sentences.txt"), "--output", str(output), *options]
    )
    return np.load(output)


def test_every_sentence_has_k_slots(export: Path) -> None:
    model = load(export)
    slots = model.encode(SENTENCES, output_value="token_embeddings", batch_size=3)
    assert [tuple(each.shape) for each in slots] == [(5, 32)] * len(SENTENCES)
    assert np.allclose(torch.stack(slots).mean(1), model.encode(SENTENCES), atol=1e-6)


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken"])
def test_a_pooling_behind_does_not_look_at_the_batch(export: Path, tmp_path: Path, mode: str) -> None:
    model = save(tmp_path / "saved", export, Pooling(32, mode))
    together = model.encode(SENTENCES, batch_size=len(SENTENCES))
    alone = np.stack([model.encode(sentence) for sentence in SENTENCES])
    assert np.abs(together - alone).max() < 1e-5


DENSE = {"in_features": 32, "out_features": 12}
BEHIND = {
    "nothing": list,
    "Normalize": lambda: [Normalize()],
    "Dense": lambda: [Dense(**DENSE)],
    "Dense without activation, Normalize": lambda: [Dense(**DENSE, activation_function=None), Normalize()],
    "Dense with GELU, no bias": lambda: [Dense(**DENSE, bias=False, activation_function=torch.nn.GELU())],
    "residual": lambda: [Dense(32, 32, use_residual=True), Dense(**DENSE, use_residual=True)],
    "Pooling": lambda: [Pooling(32, "cls"), Normalize(), Dense(**DENSE)],
    "max": lambda: [Pooling(32, "max")],
    "Dropout": lambda: [Dropout(0.5)],
    "of slots": lambda: [Normalize(module_input_name="token_embeddings")],
    "Softplus": lambda: [Dense(**DENSE, activation_function=torch.nn.Softplus())],
}  # fmt: skip
REFUSED = {
    "max": "pools slots by 'max', which is not applied here",
    "Dropout": "Dropout' as its module 1, which is not applied here",
    "of slots": "module_input_name is 'token_embeddings', but only 'sentence_embedding' is known here",
    "Softplus": "activation_function 'torch.nn.modules.activation.Softplus' is none of Identity, Tanh",
}


@pytest.mark.parametrize("behind", BEHIND)
def test_api_command_and_library_agree_or_refuse(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture, behind: str
) -> None:
    torch.manual_seed(1)
    expected = save(tmp_path / "saved", export, *BEHIND[behind]()).encode(SENTENCES, batch_size=4)
    reloaded = load(tmp_path / "saved").encode(SENTENCES, batch_size=2)
    assert np.abs(reloaded - expected).max() < 1e-5
    if behind in REFUSED:
        with pytest.raises(UserError) as caught:
            SentenceEncoder.from_pretrained(tmp_path / "saved")
        assert REFUSED[behind] in str(caught.value)
        with pytest.raises(SystemExit):
            command(tmp_path / "saved", tmp_path)
        assert REFUSED[behind] in capsys.readouterr().err
        assert not (tmp_path / "embeddings.npy").exists()
        return
    for folder in (tmp_path / "saved", tmp_path / "again"):
        encoder = SentenceEncoder.from_pretrained(folder, device="cpu")
        assert np.abs(encoder.encode(SENTENCES) - expected).max() < 1e-5
        assert encoder.embedding_dim() == expected.shape[1]
        assert np.abs(command(folder, tmp_path) - expected).max() < 1e-5
        if folder.name == "saved":
            export_model(folder, tmp_path / "again", output_format="sentence-transformers")
            assert np.abs(load(tmp_path / "again").encode(SENTENCES) - expected).max() < 1e-5


def test_what_the_user_says_goes_before_what_the_folder_says(export: Path, tmp_path: Path) -> None:
    checkpoint = SentenceEncoder.from_pretrained(export.parent / "model.pt", device="cpu")
    prompts = {"query": "the river ", "none": ""}
    model = save(
        tmp_path / "saved", export, Normalize(), prompts=prompts, default_prompt_name="query", truncate_dim=20
    )  # fmt: skip
    encoder = SentenceEncoder.from_pretrained(tmp_path / "saved", device="cpu")
    assert np.abs(encoder.encode(SENTENCES) - model.encode(SENTENCES)).max() < 1e-5
    assert np.abs(command(tmp_path / "saved", tmp_path) - model.encode(SENTENCES)).max() < 1e-5
    for prompt in ({"prompt": "He lives "}, {"prompt_name": "none"}, {"prompt": ""}):
        expected = model.encode(SENTENCES, **prompt, normalize_embeddings=True)
        assert np.abs(encoder.encode(SENTENCES, **prompt, normalize=True) - expected).max() < 1e-5
        option = [f"--{name.replace('_', '-')}={value}" for name, value in prompt.items()]
        assert np.abs(command(tmp_path / "saved", tmp_path, "--normalize", *option) - expected).max() < 1e-5
    plain = checkpoint.encode(SENTENCES, pooling="slot0")[:, :20]
    found = encoder.encode(SENTENCES, pooling="slot0", normalize=False, prompt="")
    assert np.abs(found - plain).max() < 1e-5
    options = ("--pooling=slot0", "--no-normalize", "--prompt=")
    assert np.abs(command(tmp_path / "saved", tmp_path, *options) - plain).max() < 1e-5
    with pytest.raises(
        ValueError, match="prompt_name 'passage' is no prompt of this model: it has document, none, query"
    ):
        encoder.encode("a", prompt_name="passage")
    with pytest.raises(ValueError, match="exclude each other"):
        encoder.encode("a", prompt_name="query", prompt="b")
    with pytest.raises(ValueError, match="ranking needs the slot states as they are"):
        encoder.rank("a", ["b"])


def test_an_exports_pooling_holds_without_being_told(checkpoint: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "export", output_format="sentence-transformers", pooling="concat")
    encoder = SentenceEncoder.from_pretrained(tmp_path / "export", device="cpu")
    expected = load(tmp_path / "export").encode(SENTENCES)
    assert expected.shape[1] == encoder.embedding_dim() == 160
    assert np.abs(encoder.encode(SENTENCES) - expected).max() < 1e-5
    assert encoder.encode("a", pooling="mean").shape == (32,)
    save(tmp_path / "saved", tmp_path / "export", Dense(160, 8))
    encoder = SentenceEncoder.from_pretrained(tmp_path / "saved", device="cpu")
    with pytest.raises(ValueError, match="pooling 'mean' gives 32 numbers, but the Dense behind the encoder takes 160"):
        encoder.encode("a", pooling="mean")
    with pytest.raises(UserError, match="pooling 'mean' gives 32 numbers"):
        export_model(tmp_path / "saved", tmp_path / "e", output_format="sentence-transformers", pooling="mean")
    with pytest.raises(UserError, match=r"has modules behind its encoder, .* give --format sentence-transformers"):
        export_model(tmp_path / "saved", tmp_path / "e", output_format="safetensors")
    assert not (tmp_path / "e").exists()


def test_a_shorter_max_seq_length_is_saved(export: Path, tmp_path: Path) -> None:
    model = load(export)
    assert model.max_seq_length == 509
    model.max_seq_length = 6
    model.save_pretrained(str(tmp_path / "saved"))
    reloaded = load(tmp_path / "saved")
    assert reloaded.max_seq_length == 6
    assert reloaded.preprocess(TEXT)["input_ids"].shape == (4, 6)
    encoder = SentenceEncoder.from_pretrained(tmp_path / "saved", device="cpu")
    assert np.abs(encoder.encode(TEXT) - reloaded.encode(TEXT)).max() < 1e-5
    assert (encoder.max_seq_length, encoder.num_cut_sentences) == (6, 4)
    export_model(tmp_path / "saved", tmp_path / "again", output_format="safetensors")
    assert SentenceEncoder.from_pretrained(tmp_path / "again").max_seq_length == 6
    model.max_seq_length = None
    assert model.max_seq_length == 509
    with pytest.raises(ValueError, match="max_seq_length 1 has no room for <s> and </s>"):
        model.max_seq_length = 1


def test_options_are_honoured_or_refused(export: Path) -> None:
    expected = load(export).encode(TEXT)
    for dtype in ("bfloat16", torch.bfloat16, "torch.bfloat16"):
        model = load(export, model_kwargs={"dtype": dtype})
        assert model.dtype == torch.bfloat16
        assert 0 < np.abs(model.encode(TEXT) - expected).max() < 0.1
    assert load(export, model_kwargs={"torch_dtype": "auto"}).dtype == torch.float32
    assert load(export, processor_kwargs={"model_max_length": 7}).max_seq_length == 7
    for options, message in (
        ({"backend": "onnx"}, "backend 'onnx' is not there for a Cross-Thought encoder"),
        ({"model_kwargs": {"dtype": "int8"}}, "dtype 'int8' is no type of floating point"),
        ({"model_kwargs": {"attn_implementation": "eager"}}, "model_kwargs has 'attn_implementation', but"),
        ({"processor_kwargs": {"padding_side": "left"}}, "processor_kwargs has 'padding_side', but"),
        ({"config_kwargs": {"num_slots": 7}}, "config_kwargs has 'num_slots', but"),
    ):
        with pytest.raises(ValueError, match=message):
            load(export, **options)


def test_a_bad_export_is_refused_there_as_here(export: Path, tmp_path: Path) -> None:
    for number, (name, content, message) in enumerate(
        (
            ("config.json", None, "pooling 'max' is none of mean, concat, slot0"),
            ("model.safetensors", None, "emb_layer_norm.bias is not finite: the training diverged"),
            ("model.safetensors", b"\xff" * 100, "model.safetensors is damaged"),
        )
    ):
        folder = tmp_path / f"export{number}"
        shutil.copytree(export, folder)
        if content is not None:
            (folder / name).write_bytes(content)
        elif name == "config.json":
            document = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps(document | {"pooling": "max"}))
        else:
            weights = load_file(folder / name)
            weights["emb_layer_norm.bias"][0] = float("nan")
            save_file(weights, folder / name)
        with pytest.raises(ValueError, match=message):
            load(folder)
        with pytest.raises(UserError, match=message):
            SentenceEncoder.from_pretrained(folder)


@pytest.mark.parametrize("culprit", [float("nan"), None, 3, ("a", "b")])
def test_what_is_no_sentence_is_refused(export: Path, culprit: object) -> None:
    with pytest.raises(TypeError) as caught:
        load(export).encode(["a", culprit])
    assert str(caught.value) == f"{culprit!r} is not a string: give sentences"
    with pytest.raises(ValueError, match=r"prompt '\\udcff' holds half a surrogate pair, which is no text"):
        load(export).encode(["a"], prompt="\udcff")


def test_a_prompt_cannot_be_left_out_of_slots(export: Path) -> None:
    with pytest.raises(ValueError, match="Pooling is to leave the prompt out"):
        SentenceTransformer(modules=[load(export)[0], Pooling(32, "mean", include_prompt=False)], device="cpu")


def test_another_version_of_the_library_is_told_of(export: Path, tmp_path: Path) -> None:
    """A package with nothing but a version stands in for an old one."""
    (tmp_path / "sentence_transformers").mkdir()
    (tmp_path / "sentence_transformers/__init__.py").write_text('__version__ = "5.1.0"\n')
    shutil.copytree(export, tmp_path / "export")
    done = subprocess.run(
        [sys.executable, "-c", "import export.modeling_cross_thought"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    message = "this model needs Sentence Transformers 5.4 or newer, and 5.1.0 is installed: pip install"
    assert message in done.stderr.splitlines()[-1]
    config = json.loads((export / "config_sentence_transformers.json").read_text())
    assert config["__version__"]["sentence_transformers"] == "6.2.0"
    assert config["requirements"] == {"sentence-transformers": ">=5.4"}


def test_the_tokenizer_is_one_of_transformers(export: Path, checkpoint: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
    lines = [
        "\x1c\u3000 Ada owns a cat \n",
        "the quick brown fox </s> <pad>",
        "naïve café, don't   stop — 😀",
        "",
        *TEXT,
    ]
    expected = encoder.tokenizer.token_ids(lines)
    tokenizer = AutoTokenizer.from_pretrained(export)
    for candidate in (tokenizer, load(export).tokenizer):
        assert candidate(lines)["input_ids"] == expected
        padded = candidate(lines, padding=True, return_tensors="pt")
        assert torch.equal(encoder.tokenizer.known(padded["input_ids"]), encoder.tokenizer.pad(expected))
        assert padded["attention_mask"].sum(1).tolist() == [len(row) for row in expected]
        assert candidate.model_max_length == encoder.max_seq_length == 509
        assert (candidate.pad_token_id, candidate.bos_token_id, candidate.eos_token_id) == (1, 0, 2)
        assert candidate.mask_token_id == encoder.encoder.config.vocab_size - 1
        assert candidate.vocab_size == len(candidate.vocab) == len(candidate.get_vocab()) == len(candidate)
    assert tokenizer("a b", truncation=True, max_length=3)["input_ids"][-1] == 2
    pair = tokenizer("Ada", "the river")["input_ids"]
    assert pair == [*tokenizer("Ada")["input_ids"], *tokenizer("the river")["input_ids"]]


def test_the_librarys_use_of_the_tokenizer_changes_no_embedding(export: Path) -> None:
    model = load(export)
    before = model.encode(TEXT)
    features = model.tokenizer(TEXT, padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert np.abs(model(dict(features))["sentence_embedding"].numpy() - before).max() < 1e-5
    model.tokenizer(TEXT, padding="max_length", truncation=True, max_length=4)
    assert np.abs(model.encode(TEXT) - before).max() < 1e-5


def test_a_tuned_model_is_saved_exported_and_embedded_again(export: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    model = load(export)
    before = model.encode(SENTENCES)
    pairs = Dataset.from_dict({"anchor": TEXT * 4, "positive": TEXT[::-1] * 4})
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "run"), max_steps=3, per_device_train_batch_size=4, learning_rate=1e-3,
        report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SentenceTransformerTrainer(
            model, args=arguments, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model)
        ).train()
    model.save_pretrained(str(tmp_path / "tuned"))
    expected = model.encode(SENTENCES)
    assert np.abs(expected - before).max() > 1e-3
    card = (tmp_path / "tuned/README.md").read_text(encoding="utf-8")
    assert 'model = SentenceTransformer("sentence_transformers_model_id", trust_remote_code=True)' in card
    assert stat.S_IMODE((tmp_path / "tuned/model.safetensors").stat().st_mode) == 0o666 & ~_umask()
    assert np.abs(load(tmp_path / "tuned").encode(SENTENCES) - expected).max() < 1e-5
    encoder = SentenceEncoder.from_pretrained(tmp_path / "tuned", device="cpu")
    assert np.abs(encoder.encode(SENTENCES) - expected).max() < 1e-5
    for output_format in ("safetensors", "sentence-transformers"):
        again = tmp_path / output_format
        main(["export", "--model", str(tmp_path / "tuned"), "--output", str(again), "--format", output_format])
        found = SentenceEncoder.from_pretrained(again, device="cpu").encode(SENTENCES)
        assert np.abs(found - expected).max() < 1e-5
        assert "It was exported from the model folder `tuned`" in (again / "README.md").read_text(encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_first_format(folder: Path, export: Path) -> None:
    """Write an export as the first version did: a tokenizer without special tokens, no lengths, no versions."""
    shutil.copytree(export, folder)
    (folder / "tokenizer_config.json").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer |= {"normalizer": None, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "SentenceTransformer"}\n')


def test_exports_made_before_still_load(export: Path, tmp_path: Path) -> None:
    write_first_format(tmp_path / "old", export)
    new, old = (SentenceEncoder.from_pretrained(folder, device="cpu") for folder in (export, tmp_path / "old"))
    assert np.abs(old.encode(SENTENCES) - new.encode(SENTENCES)).max() < 1e-6
    assert old.max_seq_length == new.max_seq_length
    export_model(tmp_path / "old", tmp_path / "again", output_format="sentence-transformers")
    assert np.abs(load(tmp_path / "again").encode(SENTENCES) - new.encode(SENTENCES)).max() < 1e-5
    tokens = SentenceTokenizer.from_file(tmp_path / "again/tokenizer.json", vocab_size=new.tokenizer.vocab_size)
    assert tokens.token_ids(SENTENCES) == new.tokenizer.token_ids(SENTENCES)
