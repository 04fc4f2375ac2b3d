"""A trained encoder as a folder for others: safetensors weights, config, tokenizer, model card; code where needed."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from cross_thought import __version__
from cross_thought.encoder import EncoderConfig
from cross_thought.environment import environment
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, write_json
from cross_thought.inference.loading import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, from_checkpoint
from cross_thought.training.checkpoints import load_checkpoint

FORMATS = ("safetensors", "sentence-transformers")

_PACKAGE = Path(__file__).parents[1]
# what an export's code is made of, and its name there
_CODE = {
    "inference/sentence_transformer.py": "modeling_cross_thought.py",
    "encoder/encoder.py": "encoder.py",
    "encoder/layers.py": "layers.py",
    "encoder/segments.py": "segments.py",
    "encoder/tokenizer.py": "tokenizer.py",
}
_MODULE = "modeling_cross_thought.CrossThoughtModule"
_SIZES = (
    "vocab_size", "num_layers", "embed_dim", "ffn_dim", "num_heads", "num_slots", "segment_length", "num_positions"
)  # fmt: skip
# fairseq's arguments that tell how a checkpoint was trained
_TRAINING_ARGUMENTS = (
    "task", "arch", "data", "max_update", "warmup_updates", "lr", "batch_size", "update_freq", "tokens_per_sample",
    "sample_break_mode", "mask_prob", "dropout", "weight_decay", "no_cross_sequence", "seed",
)  # fmt: skip


def export_model(
    checkpoint: Path,
    output_dir: Path,
    *,
    output_format: str,
    pooling: str = "mean",
    vocabulary: Path | None = None,
    results: Path | None = None,
    model_name: str | None = None,
) -> None:
    """Write an export, whole or not at all; one that is there already is replaced.

    Args:
        checkpoint: fairseq's.
        output_dir: the folder to write.
        output_format: `safetensors`, or `sentence-transformers`, which adds what that library loads.
        pooling: what Sentence Transformers makes of the slots; `SentenceEncoder` is told by its user.
        vocabulary: folder of dict.txt, encoder.json and vocab.bpe; None: where they are found.
        results: the results folder that the model card tells of; None: the one that the checkpoint lies in, if any.
        model_name: the model's name there; None: by the checkpoint's place.

    Raises:
        UserError: if the checkpoint or the vocabulary is missing, damaged or does not fit, or the folder to write
            holds something else.
    """
    _check_replaceable(output_dir)
    if checkpoint.is_dir():
        raise UserError(f"{checkpoint} is a folder: give the fairseq checkpoint to export")
    if results is not None and not (results / "tables").is_dir():
        raise UserError(f"{results} has no tables/: name a results folder of the workflow (--results)")
    state = load_checkpoint(checkpoint)
    encoder, tokenizer = from_checkpoint(state, vocabulary, source=checkpoint)
    found_results, found_name = _place_in_results(checkpoint)
    results = results or found_results
    if results is not None and model_name is not None:
        _check_model_name(model_name, results)
    card = model_card(
        model_name or found_name or checkpoint.stem,
        encoder.config,
        vars(state["args"]),
        results=results,
        output_format=output_format,
        pooling=pooling,
    )
    config = {"model_type": "cross_thought", "pooling": pooling, "encoder": asdict(encoder.config)}
    with atomic_directory(output_dir) as folder:
        save_file(encoder.state_dict(), folder / WEIGHTS_FILE, metadata={"format": "pt"})
        write_json(folder / CONFIG_FILE, config)
        tokenizer.save(folder / TOKENIZER_FILE)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if output_format == "sentence-transformers":
            write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": _MODULE}])
            write_json(folder / "config_sentence_transformers.json", {"model_type": "SentenceTransformer"})
            for source, name in _CODE.items():
                code = (_PACKAGE / source).read_text(encoding="utf-8")
                (folder / name).write_text(code.replace("from cross_thought.encoder.", "from ."), encoding="utf-8")


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace what is no export: its files would be lost."""
    if folder.resolve() == Path.cwd():
        raise UserError(f"{folder} is the folder that you are in: name one below it (--output)")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        is_export = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_type"] == "cross_thought"
    except (OSError, ValueError, KeyError, TypeError):
        is_export = False
    if not is_export:
        raise UserError(f"{folder} is there already and is no export: name another folder, or remove it")


def _check_model_name(name: str, results: Path) -> None:
    """Refuse a name that the results do not know."""
    tables = ("tasks.csv", "embeddings.csv", "pretraining.csv")
    known = sorted({row["model"] for table in tables for row in _read_csv(results, table)})
    if name not in known:
        raise UserError(f"{results} tells of no model {name!r}: choose from {', '.join(known) or 'none'} (--name)")


def _place_in_results(checkpoint: Path) -> tuple[Path | None, str | None]:
    """Return the results folder that a checkpoint of the workflow lies in, and its model's name; None if elsewhere."""
    parts = checkpoint.resolve().parents
    # STAGE/MODEL/seed-N/model.pt, or STAGE/MODEL/TASK/seed-N/best.pt
    for stage, depth in (("pretrain", 2), ("finetune", 3)):
        if len(parts) > depth + 1 and parts[depth].name == stage:
            return parts[depth + 1], parts[depth - 1].name
    return None, None


def model_card(
    name: str,
    config: EncoderConfig,
    arguments: Mapping[str, Any],
    *,
    results: Path | None,
    output_format: str,
    pooling: str,
) -> str:
    """Return the README.md of an export.

    Args:
        name: of the model.
        config: of the encoder.
        arguments: fairseq's, from the checkpoint.
        results: results folder of the workflow; None: there is none.
        output_format: of the export.
        pooling: of the export.
    """
    is_module = output_format == "sentence-transformers"
    longest = config.max_sentence_length - 2
    sections = [
        _front_matter(is_module),
        f"# {name}: a Cross-Thought sentence encoder",
        "A sentence encoder pre-trained as in *Cross-Thought for Sentence Encoder Pre-training* (Wang et al., EMNLP "
        f"2020, [arXiv 2010.03652](https://arxiv.org/abs/2010.03652)). Its embedding is made of {config.num_slots} "
        f"slot states of {config.embed_dim} numbers each, after the encoder layers.",
        "## Use",
        _usage(is_module, pooling),
        "## Encoder",
        _table(["setting", "value"], [[f"`{key}`", getattr(config, key)] for key in _SIZES]),
        "## Training",
        _training(arguments, name, results),
        "## Results",
        _results(name, results),
        "## Limits",
        f"- A sentence has room for {longest} BPE symbols; words beyond them are cut.\n"
        "- It is as good as the text and the training above; nothing was done about biases in the text.\n"
        "- Pre-training does not tune embeddings for cosine similarity: look at the results, or fine-tune.\n"
        "- The weights are under the terms of the data that they were trained on.",
        "## Versions",
        _versions(results),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(is_module: bool) -> str:
    lines = ["tags:", "- sentence-similarity", "- feature-extraction", "- cross-thought"]
    if is_module:
        lines = ["library_name: sentence-transformers", "pipeline_tag: sentence-similarity", *lines]
    return "\n".join(["---", *lines, "---"])


def _usage(is_module: bool, pooling: str) -> str:
    ours = (
        "```python\nfrom cross_thought import SentenceEncoder\n\n"
        'encoder = SentenceEncoder.from_pretrained("FOLDER")\n'
        f'embeddings = encoder.encode(["A sentence.", "Another one."], pooling="{pooling}")\n```'
    )
    if not is_module:
        return ours
    files = ", ".join(f"`{name}`" for name in _CODE.values())
    return (
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        'encoder = SentenceTransformer("FOLDER", trust_remote_code=True)\n'
        'embeddings = encoder.encode(["A sentence.", "Another one."])\n```\n\n'
        f"`trust_remote_code=True` runs the Python files of this folder, and nothing else: {files}. They are the "
        "encoder in plain PyTorch and its tokenizer, for "
        "Sentence Transformers 6 (tried with 6.2.0). Without that library, and without running code of this folder:\n\n"
        + ours
    )


def _training(arguments: Mapping[str, Any], name: str, results: Path | None) -> str:
    rows = [[f"`{key}`", arguments[key]] for key in _TRAINING_ARGUMENTS if arguments.get(key) is not None]
    parts = ["The arguments that its checkpoint carries:", _table(["fairseq argument", "value"], rows)]
    provenance = _read_json(results, "provenance.json")
    if provenance:
        data = [item for item in provenance["data"] if "/corpus/" in item["path"] or "/vocabulary/" in item["path"]]
        parts += [
            "The data behind the results, as the workflow recorded them:",
            _table(["file", "bytes", "SHA-256"], [[item["path"], item["bytes"], item["sha256"]] for item in data]),
        ]
    figures = [row for row in _read_csv(results, "pretraining.csv") if row["model"] == name]
    if figures:
        parts += ["Pre-training, by seed:", _table(list(figures[0]), [list(row.values()) for row in figures])]
    return "\n\n".join(parts)


def _results(name: str, results: Path | None) -> str:
    titles = {
        "embeddings.csv": "The embeddings as they are, without fine-tuning, over seeds of pre-training:",
        "tasks.csv": "After fine-tuning on each task, over seeds:",
    }
    head = ["task", "split", "metric", "percent, mean ± sd", "seeds", "examples"]
    parts = []
    for table, title in titles.items():
        rows = [
            [
                row["task"],
                row["split"],
                row["metric"],
                " ± ".join(f"{float(row[key]):.1f}" for key in ("mean", "sd") if row[key]),
                row["n"],
                row["num_examples"],
            ]
            for row in _read_csv(results, table)
            if row["kind"] == "model" and row["model"] == name
        ]
        if rows:
            parts += [title, _table(head, rows)]
    return "\n\n".join(parts) or "None are recorded beside the checkpoint that this was exported from."


def _versions(results: Path | None) -> str:
    now = environment()
    made = (_read_json(results, "provenance.json") or {}).get("made")
    lines = [f"- exported with cross-thought {__version__}, {_environment_line(now)}"]
    if made:
        lines.append(f"- results made with {_environment_line(made)}, on {made['cpu']}, {made['gpus'] or 'no GPU'}")
    return "\n".join(lines)


def _environment_line(made: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items() if name != "cross-thought")
    return f"commit {made['commit'] or 'unknown'}, Python {made['python']}, {packages}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _read_csv(results: Path | None, name: str) -> list[dict[str, str]]:
    """Return the rows of a result table; none if there is no such table."""
    if results is None or not (path := results / "tables" / name).is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read_json(results: Path | None, name: str) -> Any:
    """Return a JSON file of the results; None if there is none."""
    if results is None or not (path := results / name).is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))
