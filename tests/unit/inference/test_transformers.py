"""Exports where only transformers is installed: each Auto class and pipeline, training, files back; what is refused."""

import importlib.metadata as metadata
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TEXT, add_lm_head, write_checkpoint, write_fine_tuned
from safetensors.torch import load_file, save_file
from torch.testing import assert_close  # where the library loads weights in memory, some processors round otherwise

from cross_thought import SentenceClassifier, SentenceEncoder
from cross_thought.encoder.rectangle import encode_sentences
from cross_thought.encoder.saved import load_saved
from cross_thought.errors import UserError
from cross_thought.inference.export import export_model
from cross_thought.inference.transformers_model import CrossThoughtForSequenceClassification, CrossThoughtModel
from tests.unit.test_architecture import with_dependencies

TEXTS = [*TEXT, "a", "", " the river ", "one </s> two <mask>", " ".join(TEXT) * 2]
LABELS = {"labels": ("yes", "no", "maybe"), "max_sentence_tokens": 12}
SCORES = {"labels": None, "score_scale": 5.0}
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (os.system, ("touch $HACKED",))


def site_of(*distributions: str, folder: Path) -> Path:
    """Return a folder with links to these distributions and what they require, and nothing else."""
    folder.mkdir()
    for name in with_dependencies(distributions):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system
        for top in {file.parts[0] for file in files} - {".."}:
            source = Path(str(metadata.distribution(name).locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return folder


def write_hostile(folder: Path) -> list[str]:
    """Write exports that are none beside the good ones, and return their names."""
    base = folder / "base"
    for name in ("pickle", "shape", "missing", "nan", "setting", "no head"):
        shutil.copytree(base, folder / name)
    weights = load_file(base / "model.safetensors")
    (folder / "pickle/model.safetensors").unlink()
    (folder / "pickle/pytorch_model.bin").write_bytes(pickle.dumps(Code()))
    norm = weights["emb_layer_norm.bias"]
    save_file(weights | {"emb_layer_norm.bias": norm[:5].clone()}, folder / "shape/model.safetensors")
    save_file(weights | {"emb_layer_norm.bias": norm * float("nan")}, folder / "nan/model.safetensors")
    for name, lost in (("missing", "layers.1.fc1.weight"), ("no head", "lm_head.")):
        kept = {key: weight for key, weight in weights.items() if not key.startswith(lost)}
        save_file(kept, folder / name / "model.safetensors", metadata={"format": "pt"})
    document = json.loads((base / "config.json").read_text())
    document["encoder"]["num_slots"] = "__import__('os').system('touch $HACKED')"
    (folder / "setting/config.json").write_text(json.dumps(document))
    return ["pickle", "shape", "missing", "nan", "setting", "no head"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of exports and what a session with them has found."""
    folder = tmp_path_factory.mktemp("exports")
    checkpoint = write_checkpoint(folder / "base-vocabulary", num_slots=5, segment_length=8)
    add_lm_head(checkpoint)
    tuned = {
        name: write_fine_tuned(folder / f"{name}-vocabulary", **about)
        for name, about in (("labels", LABELS), ("scores", SCORES))
    }
    for name, source in {"base": checkpoint, **tuned}.items():
        export_model(source, folder / name, output_format="sentence-transformers")
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    (folder / "hostile.json").write_text(json.dumps(write_hostile(folder)))
    site = site_of("transformers", "torch", "accelerate", folder=folder / "site")
    script = Path(__file__).with_name("transformers_alone.py")
    code = f"import runpy, sys; sys.path.insert(0, {str(site)!r}); runpy.run_path({str(script)!r})"
    environment = {"HACKED": str(folder / "hacked"), "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict:
    return json.loads((folder / "found.json").read_text())


def difference(found: list, expected: np.ndarray | torch.Tensor | list) -> float:
    found, expected = torch.tensor(found), torch.as_tensor(expected)
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def test_the_session_had_transformers_alone(found: dict) -> None:
    assert found["missing"] == ["cross_thought", "fairseq", "sentence_transformers"]


def test_the_model_and_its_pipeline_give_our_embeddings(folder: Path, found: dict) -> None:
    ours = SentenceEncoder.from_pretrained(folder / "base", device="cpu")
    config = ours.encoder.config
    assert found["config"] == ["cross_thought", config.vocab_size, 32, 2]
    assert difference(found["embeddings"], ours.encode(TEXTS)) < 1e-5
    slots = ours.encode(TEXTS, pooling="concat").reshape(len(TEXTS), 5, 32)
    assert difference(found["slots"], slots) < 1e-5
    assert difference(found["features"], slots[:1]) < 1e-5


def test_the_lm_head_and_its_pipeline_give_what_pretraining_gives(folder: Path, found: dict) -> None:
    ours = SentenceEncoder.from_pretrained(folder / "base", device="cpu")
    head = load_saved(folder / "base/config.json", folder / "base/model.safetensors").lm_head
    assert head is not None
    embedding = ours.encoder.embed_tokens.weight
    tokens = ours.tokenizer.pad(ours.tokenizer.token_ids(TEXTS))
    logits = head(ours.encoder.encode_streams(tokens, start_position=1), embedding)
    assert difference(found["logits"], logits) < 1e-4  # numbers of some 10
    before, after = (ours.tokenizer.token_ids([part])[0] for part in ("Ada owns a", "a , works"))
    row = torch.tensor([[*before[:-1], ours.encoder.config.vocab_size - 1, *after[2:]]])  # `<mask>` is the last id
    expected = head(ours.encoder.encode_streams(row, start_position=1), embedding)[0, len(before) - 1].softmax(-1)
    values, ids = expected.topk(5)
    assert [answer["token"] for answer in found["filled"]] == ids.tolist()
    assert difference([answer["score"] for answer in found["filled"]], values) < 1e-5


def test_the_classifier_and_its_pipeline_give_our_predictions(folder: Path, found: dict) -> None:
    classifier = SentenceClassifier.from_pretrained(folder / "labels", device="cpu")
    expected = classifier.predict_proba(PAIRS)
    assert difference(torch.tensor(found["labels"]).softmax(1).tolist(), expected) < 1e-5
    for (_, pair), answers, row in zip(PAIRS, found["answers"], expected, strict=True):
        if not pair:
            continue  # to the library's pipeline, an empty second text is none
        scores = {answer["label"]: answer["score"] for answer in answers}
        assert difference([scores[name] for name in classifier.labels], row) < 1e-5
    scores = SentenceClassifier.from_pretrained(folder / "scores", device="cpu").predict(PAIRS)
    assert {answer["label"] for answer in found["scores"]} == {"score"}
    alike = [place for place, (_, pair) in enumerate(PAIRS) if pair]
    found_scores = [found["scores"][place]["score"] for place in alike]
    assert difference(found_scores, [scores[place] for place in alike]) < 5e-5  # five times the head's
    first, second = (classifier._tokenizer.token_ids([text])[0] for text in PAIRS[0])
    assert found["ids"] == [*first, *second]


def test_what_trainer_trained_comes_back_there_and_here(folder: Path, found: dict) -> None:
    assert found["reloaded"] == found["reloaded lm"] == 0
    assert found["moved"] > 1e-3
    classifier = SentenceClassifier.from_pretrained(folder / "trained", device="cpu")
    assert classifier.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert difference(found["trained"], classifier.predict_proba(PAIRS)) < 1e-5
    tuned = SentenceEncoder.from_pretrained(folder / "pretrained", device="cpu").encode(TEXTS)
    assert difference(found["tuned"], tuned) < 1e-5
    export_model(folder / "pretrained", folder / "again", output_format="safetensors")
    assert "lm_head.dense.weight" in load_file(folder / "again/model.safetensors")


def test_bad_exports_are_refused(folder: Path, found: dict) -> None:
    for name, message in (
        ("pickle", "no file named model.safetensors"),
        ("shape", "You set `ignore_mismatched_sizes` to `False`, thus raising an error"),
        ("missing", "lacks the weights layers.1.fc1.weight"),
        ("nan", "emb_layer_norm.bias is not finite"),
        ("setting", "which is no number of its kind"),
        ("no head", "lacks the weights lm_head.bias: for CrossThoughtForMaskedLM, give an export that has them"),
    ):
        assert message in found["refused"][name], found["refused"][name]
    assert not (folder / "hacked").exists()


@pytest.mark.parametrize("name", ["shape", "nan"])
def test_a_bad_lm_head_is_refused_by_ours_as_well(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder / "base", tmp_path / "export")
    weights = load_file(tmp_path / "export/model.safetensors")
    bias = weights["lm_head.bias"]
    weights["lm_head.bias"] = bias[:3].clone() if name == "shape" else bias * float("nan")
    save_file(weights, tmp_path / "export/model.safetensors")
    with pytest.raises(Exception, match="the LM head has weights of the shapes|lm_head.bias is not finite"):
        SentenceEncoder.from_pretrained(tmp_path / "export")


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """Return a folder of exports of fine-tuned models, with figures, without a session with them."""
    for name, about in (("labels", LABELS), ("scores", SCORES)):
        source = write_fine_tuned(tmp_path / f"{name}-vocabulary", metrics={"valid": {"accuracy": 0.9}}, **about)
        export_model(source, tmp_path / name, output_format="safetensors")
    return tmp_path


def saved(model: CrossThoughtModel | CrossThoughtForSequenceClassification, source: Path) -> Path:
    """Save a model that was loaded from an export, with its tokenizer, and return the folder."""
    folder = source.with_name("saved")
    model.save_pretrained(folder)
    shutil.copy(source / "tokenizer.json", folder)
    return folder


def test_the_encoder_of_a_fine_tuned_export_is_saved_without_its_task(tuned: Path) -> None:
    folder = saved(CrossThoughtModel.from_pretrained(tuned / "labels"), tuned / "labels")
    document = json.loads((folder / "config.json").read_text())
    assert not {"fine_tuned_on", "classifier_dim", "classifier_activation", "problem_type", "id2label"} & set(document)
    encoders = [SentenceEncoder.from_pretrained(path, device="cpu") for path in (tuned / "labels", folder)]
    np.testing.assert_allclose(*(encoder.encode(TEXTS) for encoder in encoders), atol=1e-6)


def test_a_head_that_may_have_been_trained_since_is_saved_without_figures(tuned: Path) -> None:
    folder = saved(CrossThoughtForSequenceClassification.from_pretrained(tuned / "labels"), tuned / "labels")
    before, after = (SentenceClassifier.from_pretrained(path, device="cpu") for path in (tuned / "labels", folder))
    assert before.task.metrics == {"valid": {"accuracy": 0.9}}
    assert after.task == replace(before.task, metrics={})
    np.testing.assert_allclose(before.predict_proba(PAIRS), after.predict_proba(PAIRS), atol=1e-6)


@pytest.mark.parametrize("name", ["labels", "scores"])
def test_a_head_that_was_trained_since_forgets_the_name_and_the_files_of_the_exports_task(
    tuned: Path, name: str
) -> None:
    model = CrossThoughtForSequenceClassification.from_pretrained(tuned / name)
    labels = torch.tensor([1.0]) if name == "scores" else torch.tensor([1])
    model(torch.tensor([[0, 5, 6, 2]]), labels=labels).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    folder = saved(model, tuned / name)
    before, after = (SentenceClassifier.from_pretrained(path, device="cpu") for path in (tuned / name, folder))
    assert before.task.columns
    forgotten = {"task": "a task in transformers", "num_sentences": None, "columns": (), "header": True, "metrics": {}}
    assert after.task == replace(before.task, **forgotten)  # scale and length are part of what it computes
    again = CrossThoughtForSequenceClassification.from_pretrained(folder)
    tokens = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    with torch.no_grad():
        assert_close(model.eval()(tokens).logits, again(tokens).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_head_that_was_only_cast_keeps_the_exports_task(tuned: Path, dtype: torch.dtype) -> None:
    model = CrossThoughtForSequenceClassification.from_pretrained(tuned / "labels").to(dtype)
    folder = saved(model, tuned / "labels")
    name = json.loads((tuned / "labels/config.json").read_text())["fine_tuned_on"]["task"]
    assert json.loads((folder / "config.json").read_text())["fine_tuned_on"]["task"] == name


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("labels", {"num_labels": 5}, "classification"),
        ("labels", {"num_labels": 1}, "regression"),
        ("scores", {"num_labels": 3, "problem_type": "single_label_classification"}, "classification"),
    ],
)
def test_a_head_for_something_else_forgets_the_exports_task(tuned: Path, name: str, options: dict, kind: str) -> None:
    model = CrossThoughtForSequenceClassification.from_pretrained(tuned / name, ignore_mismatched_sizes=True, **options)
    tokens = torch.tensor([[0, 5, 6, 2]])
    (head,) = model.classification_heads.values()
    with torch.no_grad():
        expected = head(encode_sentences(model, model.settings, tokens, torch.ones_like(tokens)))
        assert_close(model(tokens).logits, expected)  # in no other task's scale
        folder = saved(model, tuned / name)
        again = CrossThoughtForSequenceClassification.from_pretrained(folder)
        assert_close(again(tokens).logits, expected)
    task = SentenceClassifier.from_pretrained(folder, device="cpu").task
    assert (task.task, task.kind, task.max_sentence_tokens) == ("a task in transformers", kind, None)
    assert len(task.labels or "1") == options["num_labels"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labels", {"problem_type": "multi_label_classification"}),
        ("scores", {"num_labels": 3, "problem_type": "multi_label_classification"}),
        ("scores", {"num_labels": 3}),  # of each row three scores
    ],
)
def test_a_head_for_what_is_not_predicted_here_opens_there_alone(tuned: Path, name: str, options: dict) -> None:
    model = CrossThoughtForSequenceClassification.from_pretrained(tuned / name, ignore_mismatched_sizes=True, **options)
    folder = saved(model, tuned / name)
    tokens = torch.tensor([[0, 5, 6, 2]])
    again = CrossThoughtForSequenceClassification.from_pretrained(folder)
    assert_close(model(tokens).logits, again(tokens).logits)
    problem = options.get("problem_type", "regression")
    with pytest.raises(UserError, match=f"its problem_type is '{problem}', where a classification has 'single_label_"):
        SentenceClassifier.from_pretrained(folder, device="cpu")
