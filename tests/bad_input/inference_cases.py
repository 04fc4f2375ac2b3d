"""What people give as `--model`, and where they want the output: the command line says what is wrong with it."""

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import constants

from cross_thought.__main__ import main
from cross_thought.data.bpe import train_vocabulary
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.heads import ClassificationHead, FineTunedTask
from cross_thought.encoder.saved import config_document, saved_weights
from cross_thought.inference.loading import build_tokenizer
from tests.bad_input.cases import Case

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 100\n"


def command(*arguments: str) -> str:
    """Run the command line, and return the sentence that it ends with."""
    errors = io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code == 1
    return errors.getvalue().strip().split("\n")[-1].removeprefix("error: ")


def embed(model: str = "export", *options: str, output: str = "e.npy") -> str:
    """Embed two lines."""
    Path("text.txt").write_text("a\nb\n")
    return command("embed", "--model", model, "--input", "text.txt", "--output", output, *options)


def embed_bytes(text: bytes) -> str:
    """Embed a file of these bytes."""
    write_export()
    Path("text.txt").write_bytes(text)
    sentence = command("embed", "--model", "export", "--input", "text.txt", "--output", "e.npy")
    assert not Path("e.npy").exists()
    return sentence


def by_name() -> str:
    """Embed with a model of the hub's, which nobody can ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", "https://hub.example")
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        patch.setattr(constants, "HF_HUB_CACHE", "cache")
        return embed("user/model")


def with_files(files: dict[str, str], model: str) -> str:
    """Embed with a model that has these files."""
    for name, content in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content)
    return embed(model)


def write_export(*, task: FineTunedTask | None = None) -> None:
    """Write an export with random weights into `export`, maybe fine-tuned."""
    from safetensors.torch import save_file

    Path("words.txt").write_text("a few words to learn from\n" * 9)
    train_vocabulary(Path("words.txt"), Path("vocabulary"), vocab_size=260, workers=1)
    num_symbols = len(Path("vocabulary/dict.txt").read_text().splitlines()) + 5
    config = EncoderConfig(vocab_size=num_symbols, num_layers=1, embed_dim=8, ffn_dim=8, num_heads=2)
    Path("export").mkdir()
    head = ClassificationHead(8, 8, len(task.labels or "1")) if task else None
    save_file(saved_weights(CrossThoughtEncoder(config), head), "export/model.safetensors")
    Path("export/config.json").write_text(json.dumps(config_document(config, "mean", task=task, head=head)))
    build_tokenizer(Path("vocabulary")).save("export/tokenizer.json")


def changed(name: str, document: object, *options: str) -> str:
    """Embed with an export of which a file says this."""
    write_export()
    Path("export", name).write_text(json.dumps(document))
    return embed("export", *options)


def behind(kind: str, **config: object) -> str:
    """Embed with an export that has a module behind its encoder."""
    entries = [("modeling_cross_thought.CrossThoughtModule", ""), (f"sentence_transformers.base.modules.{kind}", "1")]
    write_export()
    Path("export/1").mkdir()
    Path("export/1/config.json").write_text(json.dumps(config))
    Path("export/modules.json").write_text(json.dumps([{"type": kind, "path": path} for kind, path in entries]))
    return embed()


PAIRS = FineTunedTask(
    task="mine", kind="classification", labels=("no", "yes"), num_sentences=2, columns=("first", "second")
)
SCORES = FineTunedTask(task="mine", kind="regression", num_sentences=1, columns=(1,))


def predict(rows: str, *options: str, task: FineTunedTask | None = PAIRS, output: str = "predictions.tsv") -> str:
    """Predict these rows with an export."""
    write_export(task=task)
    Path("rows.tsv").write_text(rows, newline="")
    sentence = command("predict", "--model", "export", "--input", "rows.tsv", "--output", output, *options)
    assert not Path(output).exists()
    return sentence


def predict_onto_the_rows() -> str:
    """Predict the rows of a file into that file."""
    Path("rows.tsv").write_text("first\tsecond\nx\ty\n")
    sentence = command("predict", "--model", "model.pt", "--input", "rows.tsv", "--output", "rows.tsv")
    assert Path("rows.tsv").read_text() == "first\tsecond\nx\ty\n"
    return sentence


def predict_into_a_pipe() -> str:
    """Predict into what is no file; as root, even /dev/null could be replaced."""
    os.mkfifo("pipe")
    return command("predict", "--model", "model.pt", "--output", "pipe")


def export_onto_a_file() -> str:
    """Export to where a file is."""
    Path("exported").touch()
    return command("export", "--model", "model.pt", "--output", "exported")


def export_changed(name: str, document: object, *options: str) -> str:
    """Export an export anew of which a file says this."""
    write_export()
    Path("export", name).write_text(json.dumps(document))
    return command(*_EXPORT, *options)


def export_with_lm_head() -> str:
    """Embed with an export whose LM head is for fewer symbols."""
    from safetensors.torch import load_file, save_file

    write_export()
    weights = load_file("export/model.safetensors")
    save_file(weights | {"lm_head.bias": weights["emb_layer_norm.bias"].clone()}, "export/model.safetensors")
    return embed()


def embed_into(place: str, make: Callable[[Path], object]) -> str:
    """Embed to a place where something is."""
    make(Path(place))
    return embed("model.pt", output="there.npy" if place == "there.npy" else f"{place}/e.npy")


_ROBERTA = {"roberta/config.json": '{"model_type": "roberta"}'}
_LIBRARY = "config_sentence_transformers.json"
_GRAPHS = {"graphs/config.json": '{"model_type": "cross_thought"}', "graphs/model.onnx": ""}
_EXPORT = ("export", "--model", "export", "--output", "exported")
_PROMPT = {"prompts": {"q": "ask "}, "default_prompt_name": "q"}
WAYS = [
    ("a Hugging Face model, RoBERTa", partial(with_files, _ROBERTA, "roberta")),
    ("a folder with nothing of a model", partial(with_files, {"model/notes.txt": "notes"}, "model")),
    ("a file of safetensors weights", partial(with_files, {"model.safetensors": ""}, "model.safetensors")),
    ("a git-lfs pointer", partial(with_files, {"model.pt": LFS_POINTER}, "model.pt")),
    ("a name on the hub, out of its reach", by_name),
    ("an export with a pooling that there is not", partial(changed, "config.json", {"pooling": "max", "encoder": {}})),
    ("an export with a module behind that is not applied here", partial(behind, "Dropout", dropout=0.1)),
    ("a Dense with another activation", partial(behind, "Dense", activation_function="torch.nn.Softplus")),
    ("a prompt that the export has not", partial(changed, _LIBRARY, {"prompts": {"q": "ask "}}, "--prompt-name", "p")),
    ("an export's default prompt that is not there", partial(changed, _LIBRARY, {"default_prompt_name": "q"})),
    ("text to embed in UTF-16 without a byte order mark", partial(embed_bytes, "One .\nTwo .\n".encode("utf-16-le"))),
    ("text to embed whose lines end in `\\r` alone", partial(embed_bytes, b"One .\rTwo .\r")),
    ("`embed --output` that is a folder", partial(embed_into, "there.npy", Path.mkdir)),
    ("`embed --output` below a file", partial(embed_into, "file", Path.touch)),
    ("`export --output` that is a file", export_onto_a_file),
    ("an export as ONNX graphs, to embed with", partial(with_files, _GRAPHS, "graphs")),
    ("`export --int8` of another format", partial(command, *_EXPORT, "--int8")),
    ("a default prompt, to export as a graph", partial(export_changed, _LIBRARY, _PROMPT, "--format", "onnx")),
    ("an LM head that does not fit", export_with_lm_head),
    ("a model to predict with that was not fine-tuned", partial(predict, "a\n", task=None)),
    ("rows to predict without the task's columns", partial(predict, "a\tb\nx\ty\n")),
    ("the same, in another form", partial(predict, "first,second\nx,y\n")),
    ("a row to predict that is cut", partial(predict, "first\tsecond\nx\ty\nx\n")),
    ("a row to predict with a tab in a sentence", partial(predict, "first\tsecond\nx\ty\tz\n")),
    ("rows to predict whose lines end in `\\r` alone", partial(predict, "first\tsecond\rx\ty\r")),
    ("one column for a task of two sentences", partial(predict, "first\tsecond\nx\ty\n", "--columns", "first")),
    ("three names for two labels", partial(predict, "first\tsecond\nx\ty\n", "--labels", "a", "b", "c")),
    ("a column to predict that is named twice", partial(predict, "first\tsecond\n", "--columns", "first", "first")),
    ("predictions into the file of their rows", predict_onto_the_rows),
    ("predictions into a pipe or a device", predict_into_a_pipe),
    ("an export into the folder of its model", partial(export_changed, _LIBRARY, {}, "--output", "export")),
    ("probabilities of scores", partial(predict, "first\nx\n", "--probabilities", task=SCORES)),
    ("predictions into a CSV file", partial(predict, "first\tsecond\n", output="predictions.csv")),
]
CASES = [Case(group="Models to embed with or export", what=what, run=way) for what, way in WAYS]
