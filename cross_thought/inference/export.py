"""A trained encoder as a folder for others: safetensors weights, config, tokenizer, model card; code where needed."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from cross_thought import __version__
from cross_thought.encoder import CrossThoughtEncoder
from cross_thought.encoder.lm_head import LMHead, build_lm_head
from cross_thought.encoder.saved import AUTO_CLASSES, MODEL_TYPE, SavedModel, config_document, saved_weights
from cross_thought.encoder.tokenizer import SentenceTokenizer, transformers_config
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, check_output, write_json
from cross_thought.inference.embed import SentenceEncoder
from cross_thought.inference.fine_tuned import kind_of, relabelled, task_of_checkpoint, tells_its_task, with_head
from cross_thought.inference.hub import fetched
from cross_thought.inference.loading import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    check_checkpoint_path,
    from_checkpoint,
    load_export,
)
from cross_thought.inference.model_card import LIBRARY_VERSION, known_models, model_card
from cross_thought.inference.settings import (
    FORMATS,
    LIBRARY_CONFIG_FILE,
    MODULE_FILES,
    MODULES_FILE,
    OUR_MODULE,
    TOKENIZER_CONFIG_FILE,
    EmbeddingSettings,
    read_settings,
)
from cross_thought.training.checkpoints import load_checkpoint

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_LM_HEAD = "encoder.lm_head."
_PRETRAINING_TASKS = ("masked_lm", "masked_sentences")  # fairseq's names
# what an export's code is made of, and its name there
_CODE = {
    "inference/sentence_transformer.py": "modeling_cross_thought.py",
    "inference/transformers_model.py": "transformers_cross_thought.py",
    "encoder/encoder.py": "encoder.py",
    "encoder/heads.py": "heads.py",
    "encoder/layers.py": "layers.py",
    "encoder/lm_head.py": "lm_head.py",
    "encoder/rectangle.py": "rectangle.py",
    "encoder/saved.py": "saved.py",
    "encoder/segments.py": "segments.py",
    "encoder/tokenizer.py": "tokenizer.py",
}
_IMPORTS = {
    "from cross_thought.encoder.": "from .",
    "from cross_thought.inference.transformers_model ": "from .transformers_cross_thought ",
}


def export_model(
    source: Path,
    output_dir: Path,
    *,
    output_format: str,
    pooling: str | None = None,
    vocabulary: Path | None = None,
    revision: str | None = None,
    results: Path | None = None,
    model_name: str | None = None,
    labels: Sequence[str] | None = None,
    score_scale: float | None = None,
    int8: bool = False,
) -> None:
    """Write an export, whole or not at all; one that is there already is replaced.

    Args:
        source: a checkpoint of fairseq's, or the folder of an export, maybe one that Sentence Transformers tuned, or an
            export's name on Hugging Face's hub.
        output_dir: the folder to write.
        output_format: `safetensors`; `sentence-transformers`, which adds what that library and transformers load; or
            `onnx`, graphs in place of the weights.
        pooling: what is made of the slots, where nothing else is said; None: `mean`, or what the source's folder has.
        vocabulary: of a checkpoint: folder of dict.txt, encoder.json and vocab.bpe; None: where they are found.
        revision: of an export on the hub; None: the newest.
        results: the results folder that the model card tells of; None: the one that the checkpoint lies in, if any.
        model_name: the model's name there; None: by the checkpoint's place.
        labels: other names for a fine-tuned model's labels; a checkpoint that does not tell them is exported without
            its head where they are not given.
        score_scale: likewise, what a regression's scores were divided by.
        int8: of graphs: with int8 weights.

    Raises:
        UserError: if the source or the vocabulary is missing, damaged or does not fit, the folder to write holds
            something else, or the source, or cannot be written, or the format does not carry all that the source has.
    """
    if output_format not in FORMATS:
        raise UserError(f"format {output_format!r} is none of {', '.join(FORMATS)}")
    if int8 and output_format != "onnx":
        raise UserError(f"the format {output_format} has no int8 weights: give --format onnx, or leave --int8 out")
    if output_format == "onnx":
        from cross_thought.inference import onnx_graphs  # the other formats do without its packages
    _check_replaceable(output_dir)
    check_output(output_dir, is_folder=True, sources=[source])
    if results is not None and not (results / "tables").is_dir():
        raise UserError(f"{results} has no tables/: name a results folder of the workflow (--results)")
    saved, tokenizer, settings, arguments = _load(
        fetched(source, revision), vocabulary, labels=labels, score_scale=score_scale
    )
    encoder, settings = saved.encoder, replace(settings, pooling=settings.pooling if pooling is None else pooling)
    # refuses what does not fit together
    sentence_encoder = SentenceEncoder(encoder, tokenizer, settings=settings, device="cpu")
    found_results, found_name = _place_in_results(source)
    results = results or found_results
    if results is not None and model_name is not None and model_name not in (known := known_models(results)):
        raise UserError(
            f"{results} tells of no model {model_name!r}: choose from {', '.join(known) or 'none'} (--name)"
        )
    is_module = output_format == "sentence-transformers"
    lost = {
        "safetensors": (settings.layers or settings.default_prompt or settings.truncate_dim)
        and "modules behind its encoder, a default prompt or a truncation",
        "onnx": settings.default_prompt and "a default prompt",
    }
    if lost.get(output_format):
        raise UserError(
            f"{source} has {lost[output_format]}, which the format {output_format} does not carry: give --format "
            "sentence-transformers"
        )
    saved = _with_metrics(saved, source)
    document = config_document(
        encoder.config, settings.pooling, task=saved.task, head=saved.head, lm_head=saved.lm_head
    )
    with atomic_directory(output_dir) as folder:
        graphs = {}
        if output_format == "onnx":
            graphs = onnx_graphs.write_graphs(folder, saved, sentence_encoder, int8=int8)
        else:
            weights = saved_weights(encoder, saved.head, saved.lm_head)
            save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        card = model_card(
            model_name or found_name or (source.resolve().stem if source.is_file() else source.resolve().name),
            encoder.config,
            settings,
            task=saved.task,
            arguments=arguments,
            source=source.name,
            results=results,
            code=list(_CODE.values()) if is_module else [],
            graphs=graphs,
        )
        write_json(folder / CONFIG_FILE, document | (AUTO_CLASSES if is_module else {}))
        tokenizer.save(folder / TOKENIZER_FILE)
        longest = encoder.config.max_sentence_length
        write_json(
            folder / TOKENIZER_CONFIG_FILE, transformers_config(min(settings.max_seq_length or longest, longest))
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        if is_module:
            _write_module(folder, settings)


def _load(
    source: Path, vocabulary: Path | None, *, labels: Sequence[str] | None, score_scale: float | None
) -> tuple[SavedModel, SentenceTokenizer, EmbeddingSettings, Mapping[str, Any] | None]:
    """Load what is to be exported, with the arguments of its training, where it has them."""
    if source.is_dir():
        saved, tokenizer = load_export(source, vocabulary)
        settings = read_settings(source, pooling=saved.pooling)
        return relabelled(saved, source=source, labels=labels, score_scale=score_scale), tokenizer, settings, None
    check_checkpoint_path(source)
    state = load_checkpoint(source)
    encoder, tokenizer = from_checkpoint(state, vocabulary, source=source)
    saved = SavedModel(encoder=encoder, lm_head=_lm_head(state, encoder, source=source))
    is_told = labels is not None or score_scale is not None
    if is_told or tells_its_task(state):
        task = task_of_checkpoint(state, source=source, labels=labels, score_scale=score_scale)
        saved = with_head(saved, state, task, source=source)
    elif kind_of(state) is not None:
        logger.warning(
            "%s was fine-tuned before checkpoints told their labels: its head is left out; give their names "
            "(--labels), or what scores were divided by (--score-scale), to have it exported",
            source,
        )
    return saved, tokenizer, EmbeddingSettings(), vars(state["args"])


def _lm_head(state: Mapping[str, Any], encoder: CrossThoughtEncoder, *, source: Path) -> LMHead | None:
    """Return a checkpoint's LM head; None if it has none, or fine-tuning has left it behind the encoder."""
    weights = {
        name.removeprefix(_LM_HEAD): weight for name, weight in state["model"].items() if name.startswith(_LM_HEAD)
    }
    if "dense.weight" not in weights or vars(state["args"]).get("task") not in _PRETRAINING_TASKS:
        return None
    try:
        return build_lm_head(weights, embedding=encoder.embed_tokens.weight)
    except ValueError as error:
        raise UserError(f"{source}: {error}: fetch or make the file again") from None


def _with_metrics(saved: SavedModel, source: Path) -> SavedModel:
    """Add to a fine-tuned model what the workflow's evaluation of it has found, if it lies beside."""
    if saved.task is None or source.is_dir():
        return saved
    place = source.resolve().parent  # results/finetune/MODEL/TASK/seed-N
    if len(place.parents) < 4 or place.parents[2].name != "finetune":
        return saved
    path = place.parents[3] / "evaluate" / place.relative_to(place.parents[2]) / "metrics.json"
    if not path.is_file():
        return saved
    splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
    metrics = {split: figures["metrics"] for split, figures in splits.items()}
    return replace(saved, task=replace(saved.task, metrics=metrics))


def _write_module(folder: Path, settings: EmbeddingSettings) -> None:
    """Write what Sentence Transformers loads beside the encoder's own files."""
    modules: list[dict[str, Any]] = [
        {"idx": 0, "name": "0", "path": "", "type": f"modeling_cross_thought.{OUR_MODULE}"}
    ]
    for number, (layer, source) in enumerate(zip(settings.layers, settings.folders, strict=True), start=1):
        name = type(layer).__name__
        place = f"{number}_{name}"
        (folder / place).mkdir()
        for file in MODULE_FILES:
            if (source / file).is_file():
                shutil.copyfile(source / file, folder / place / file)
        kind = f"sentence_transformers.base.modules.{name.lower()}.{name}"
        modules.append({"idx": number, "name": str(number), "path": place, "type": kind})
    write_json(folder / MODULES_FILE, modules)
    library = {
        "model_type": "SentenceTransformer",
        "__version__": {"cross_thought": __version__, "sentence_transformers": LIBRARY_VERSION},
        "requirements": {"sentence-transformers": ">=5.4"},
    }
    write_json(folder / LIBRARY_CONFIG_FILE, {**settings.library, **library})
    for file, name in _CODE.items():
        code = (_PACKAGE / file).read_text(encoding="utf-8")
        for ours, theirs in _IMPORTS.items():
            code = code.replace(ours, theirs)
        (folder / name).write_text(code, encoding="utf-8")


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace what is no export: its files would be lost."""
    if folder.resolve() == Path.cwd():
        raise UserError(f"{folder} is the folder that you are in: name one below it (--output)")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        is_export = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_type"] == MODEL_TYPE
    except (OSError, ValueError, KeyError, TypeError):
        is_export = False
    if not is_export:
        raise UserError(f"{folder} is there already and is no export: name another folder, or remove it")


def _place_in_results(checkpoint: Path) -> tuple[Path | None, str | None]:
    """Return the results folder that a checkpoint of the workflow lies in, and its model's name; None if elsewhere."""
    parts = checkpoint.resolve().parents
    # STAGE/MODEL/seed-N/model.pt, or STAGE/MODEL/TASK/seed-N/best.pt
    for stage, depth in (("pretrain", 2), ("finetune", 3)):
        if len(parts) > depth + 1 and parts[depth].name == stage:
            return parts[depth + 1], parts[depth - 1].name
    return None, None
