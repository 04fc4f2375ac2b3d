"""Exports as ONNX graphs: equal to ours on sentences of any length, in onnxruntime alone; what is refused, and when."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from checkpoints import TEXT, write_fine_tuned
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from tokenizers import Tokenizer

from cross_thought import SentenceClassifier, SentenceEncoder
from cross_thought.errors import UserError
from cross_thought.inference import onnx_graphs
from cross_thought.inference.export import export_model
from cross_thought.inference.loading import load_classifier
from tests.unit.inference.test_transformers import LABELS, SCORES

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
SENTENCES = [*TEXT, "a", "", "  the river ", "one </s> two <mask>", " ".join(TEXT) * 9]
PAIRS = list(zip(SENTENCES, SENTENCES[::-1], strict=True))


@pytest.fixture(scope="module")
def graphs(checkpoint: Path) -> Path:
    """Return an export as a graph."""
    export_model(checkpoint, checkpoint.parent / "graphs", output_format="onnx")
    return checkpoint.parent / "graphs"


def run(graph: Path, texts: list, batch: int = 7) -> np.ndarray:
    """Run a graph on texts or pairs as the documents show it, without this package."""
    tokenizer = Tokenizer.from_file(str(graph.parent / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    tokenizer.encode_special_tokens = True
    session = onnxruntime.InferenceSession(graph)
    outputs = []
    for start in range(0, len(texts), batch):
        rows = tokenizer.encode_batch(texts[start : start + batch])
        feed = {"input_ids": [row.ids for row in rows], "attention_mask": [row.attention_mask for row in rows]}
        outputs += [*session.run(None, {name: np.array(values) for name, values in feed.items()})[0]]
    return np.stack(outputs)


def test_the_graph_gives_our_embeddings(graphs: Path, checkpoint: Path) -> None:
    assert sorted(path.name for path in graphs.iterdir()) == [
        "README.md", "config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip
    expected = SentenceEncoder.from_pretrained(checkpoint, device="cpu").encode(SENTENCES)
    assert np.abs(run(graphs / "model.onnx", SENTENCES) - expected).max() < 1e-5
    assert np.abs(run(graphs / "model.onnx", SENTENCES, batch=1) - expected).max() < 1e-5
    none = dict.fromkeys(onnx_graphs.INPUTS, np.zeros((0, 5), np.int64))
    assert onnxruntime.InferenceSession(graphs / "model.onnx").run(None, none)[0].shape == (0, 32)
    model = onnx.load(graphs / "model.onnx")
    onnx.checker.check_model(model)
    assert {opset.domain: opset.version for opset in model.opset_import}[""] == onnx_graphs.OPSET == 18
    card = (graphs / "README.md").read_text(encoding="utf-8")
    assert "`model.onnx` (float32; at most " in card
    assert "opset 18" in card
    assert (
        "transformers (`AutoModel`), Sentence Transformers and `SentenceEncoder.from_pretrained` do not load it" in card
    )
    assert "other rows of its batch" not in card


def test_real_sentences_of_1_to_500_tokens(graphs: Path, checkpoint: Path) -> None:
    path = REAL_DATA / "multi30k" / "val.1.en.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    ours = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
    text = " ".join(lines)
    words = text.split()
    ids = ours.tokenizer.tokenizer.encode(text, add_special_tokens=False)
    ends = [ids.offsets[length - 1][1] for length in range(1, 501, 7)]
    sentences = [text[:end] for end in ends] + lines[:50] + words[:20]
    assert len(ours.tokenizer.token_ids(sentences)[71]) >= 500
    assert np.abs(run(graphs / "model.onnx", sentences) - ours.encode(sentences)).max() < 1e-5


def test_what_comes_behind_the_encoder_is_in_the_graph(checkpoint: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "export", output_format="sentence-transformers", pooling="concat")
    first = SentenceTransformer(str(tmp_path / "export"), trust_remote_code=True, device="cpu")[0]
    torch.manual_seed(1)
    model = SentenceTransformer(modules=[first, Dense(160, 12), Normalize()], device="cpu", truncate_dim=8)
    model.max_seq_length = 9
    model.save_pretrained(str(tmp_path / "saved"))
    export_model(tmp_path / "saved", tmp_path / "graphs", output_format="onnx")
    outputs = run(tmp_path / "graphs/model.onnx", SENTENCES)
    assert outputs.shape == (len(SENTENCES), 8)
    assert np.abs(outputs - model.encode(SENTENCES)).max() < 1e-5
    model.default_prompt_name, model.prompts = "query", {"query": "ask "}
    model.save_pretrained(str(tmp_path / "prompted"))
    with pytest.raises(UserError, match="has a default prompt, which the format onnx does not carry"):
        export_model(tmp_path / "prompted", tmp_path / "none", output_format="onnx")
    assert not (tmp_path / "none").exists()


def test_the_heads_graph_gives_our_predictions(tmp_path: Path) -> None:
    checkpoint = write_fine_tuned(tmp_path / "model", **LABELS)
    export_model(checkpoint, tmp_path / "graphs", output_format="onnx")
    outputs = run(tmp_path / "graphs/classifier.onnx", PAIRS)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    expected = SentenceClassifier.from_pretrained(checkpoint, device="cpu").predict_proba(PAIRS)
    assert np.abs(probabilities - expected).max() < 1e-5
    assert json.loads((tmp_path / "graphs/config.json").read_text())["id2label"]["2"] == "maybe"


def test_a_regressions_graph_gives_scores_in_the_tasks_scale(tmp_path: Path) -> None:
    """Without writing it down, which takes seconds."""
    checkpoint = write_fine_tuned(tmp_path / "model", **SCORES)
    saved, tokenizer = load_classifier(checkpoint)
    graph = onnx_graphs.ClassifierGraph(saved.encoder, saved.head, saved.task)
    rows = [[token for ids in tokenizer.token_ids(pair) for token in ids] for pair in PAIRS]
    tokens = tokenizer.pad(rows)
    scores = SentenceClassifier.from_pretrained(checkpoint, device="cpu").predict(PAIRS)
    assert np.abs(graph(tokens, (tokens != 1).long())[:, 0].numpy() - scores).max() < 5e-5


def test_int8_weights_are_close_and_say_so(checkpoint: Path, graphs: Path, tmp_path: Path) -> None:
    export_model(checkpoint, tmp_path / "small", output_format="onnx", int8=True)
    exact, close = (run(folder / "model.onnx", SENTENCES) for folder in (graphs, tmp_path / "small"))
    cosines = (exact * close).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(close, axis=1)
    assert 0.95 < cosines.min() < 1 - 1e-7
    assert (tmp_path / "small/model.onnx").stat().st_size < 0.6 * (graphs / "model.onnx").stat().st_size
    alone = run(tmp_path / "small/model.onnx", SENTENCES, batch=1)
    assert 1e-4 < np.abs(close - alone).max() < 0.1 * np.abs(close).max()
    card = (tmp_path / "small/README.md").read_text(encoding="utf-8")
    assert "int8 weights; cosines with float32" in card
    assert "With int8 weights, what a row gives depends a little on the other rows of its batch." in card
    with pytest.raises(UserError, match="the format safetensors has no int8 weights: give --format onnx"):
        export_model(checkpoint, tmp_path / "none", output_format="safetensors", int8=True)


@pytest.mark.parametrize(
    ("exact", "close", "said"),
    [
        ([[4.0], [1.5], [-2.0]], [[4.0], [1.0], [-1.75]], "at most 0.5 from the float32 scores"),
        (
            [[2.0, 1.0, 0.0], [0.5, 0.75, 0.0], [0.0, 0.0, 4.0]],
            [[2.0, 1.5, 0.0], [1.0, 0.75, 0.0], [0.0, 0.25, 4.0]],
            "at most 0.5 from the float32 scores, 2 of 3 rows with the same label",
        ),
    ],
)
def test_int8_scores_are_held_against_float32_ones(exact: list, close: list, said: str) -> None:
    words = onnx_graphs._compared(onnx_graphs.CLASSIFIER_GRAPH, np.array(close), np.array(exact), int8=True)
    assert words == f"int8 weights; {said}"


def test_a_graph_that_differs_is_never_put_in_place(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/config.json").write_text('{"model_type": "cross_thought"}')
    monkeypatch.setattr(onnx_graphs, "TOLERANCE", 1e-12)
    with pytest.raises(UserError, match=r"model.onnx gives numbers that differ from the encoder's by .*, more than"):
        export_model(checkpoint, tmp_path / "there", output_format="onnx")
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "config.json"]
    monkeypatch.setattr(onnx_graphs, "_LARGEST_FILE", 1000)
    with pytest.raises(UserError, match=r"GB of weights, and an ONNX file holds less than 2: give another"):
        export_model(checkpoint, tmp_path / "there", output_format="onnx")


def test_others_are_told_what_it_is(graphs: Path, tmp_path: Path) -> None:
    message = "holds ONNX graphs, which onnxruntime runs: give a checkpoint, or an export in another format"
    for load in (SentenceEncoder.from_pretrained, SentenceClassifier.from_pretrained):
        with pytest.raises(UserError, match=message):
            load(graphs)
    shutil.copytree(graphs, tmp_path / "hostile")
    (tmp_path / "hostile/model.onnx").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(UserError, match=message):
        export_model(tmp_path / "hostile", tmp_path / "again", output_format="onnx")


def test_a_missing_package_is_named_with_its_extra(checkpoint: Path, tmp_path: Path) -> None:
    """An empty finder in front of the others stands for an environment without onnxruntime."""
    code = "import sys; sys.modules['onnxruntime'] = None; from cross_thought.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "--model", str(checkpoint), "--output", str(tmp_path / "e"),
         "--format", "onnx"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "needs the package onnxruntime, which is not installed: pip install 'cross-thought[onnx]'" in done.stderr
    assert not (tmp_path / "e").exists()
