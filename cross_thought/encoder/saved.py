"""A model as files: `config.json` and `model.safetensors`. What does not fit is refused before it is computed with.

Exports carry this file, so that Sentence Transformers refuses what `SentenceEncoder` refuses.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cross_thought.encoder.encoder import POOLINGS, CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.heads import (
    ACTIVATIONS,
    HEAD_PREFIX,
    ClassificationHead,
    FineTunedTask,
    check_head,
    head_document,
    load_head,
    task_of_config,
)
from cross_thought.encoder.lm_head import LM_HEAD_PREFIX, LMHead, build_lm_head

MODEL_TYPE = "cross_thought"
_ALIGNMENT = 64  # bytes, of torch's own memory on the CPU
_MODULE = "transformers_cross_thought"  # of an export's code
# what config.json says besides, where that code is, so that the transformers library finds its classes
AUTO_CLASSES = {
    "auto_map": {
        "AutoConfig": f"{_MODULE}.CrossThoughtConfig",
        "AutoModel": f"{_MODULE}.CrossThoughtModel",
        "AutoModelForMaskedLM": f"{_MODULE}.CrossThoughtForMaskedLM",
        "AutoModelForSequenceClassification": f"{_MODULE}.CrossThoughtForSequenceClassification",
    },
    "custom_pipelines": {
        "fill-mask": {
            "impl": f"{_MODULE}.CrossThoughtFillMaskPipeline",
            "pt": ["AutoModelForMaskedLM"],
            "type": "text",
        }
    },
}


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What the files of a model hold.

    Attributes:
        encoder: on the CPU, in float32, ready to embed.
        pooling: of its embeddings.
        task: what it was fine-tuned on; None: nothing.
        head: the classification head; None: not fine-tuned, or on answer selection, which has none.
        lm_head: of the pre-training; None: there is none.
    """

    encoder: CrossThoughtEncoder
    pooling: str = POOLINGS[0]
    task: FineTunedTask | None = None
    head: ClassificationHead | None = None
    lm_head: LMHead | None = None


def config_document(
    config: EncoderConfig,
    pooling: str,
    *,
    task: FineTunedTask | None = None,
    head: ClassificationHead | None = None,
    lm_head: LMHead | None = None,
) -> dict[str, Any]:
    """Return what config.json holds."""
    document: dict[str, Any] = {"model_type": MODEL_TYPE, "pooling": pooling, "encoder": asdict(config)}
    if lm_head is not None and lm_head.weight is not None:
        document["tie_word_embeddings"] = False
    return document if task is None else document | head_document(task, head)


def saved_weights(
    encoder: CrossThoughtEncoder, head: ClassificationHead | None = None, lm_head: LMHead | None = None
) -> dict[str, Tensor]:
    """Return what model.safetensors holds: the encoder's weights by their names there, the heads' by the published."""
    weights = {name: weight.contiguous() for name, weight in encoder.state_dict().items()}
    for prefix, module in ((HEAD_PREFIX, head), (LM_HEAD_PREFIX, lm_head)):
        if module is not None:
            weights |= {f"{prefix}{name}": weight.contiguous() for name, weight in module.state_dict().items()}
    return weights


def load_encoder(config_file: str | Path, weights_file: str | Path) -> tuple[CrossThoughtEncoder, str]:
    """Do what `load_saved` does, for those who want the encoder and its pooling alone."""
    saved = load_saved(config_file, weights_file)
    return saved.encoder, saved.pooling


def load_saved(config_file: str | Path, weights_file: str | Path) -> SavedModel:
    """Load a model, on the CPU, in float32, ready to embed and to predict.

    Args:
        config_file: config.json, as `config_document` has it.
        weights_file: model.safetensors, as `saved_weights` has it.

    Raises:
        ValueError: if a file is damaged or does not fit the other, in a sentence.
    """
    try:
        document = json.loads(Path(config_file).read_text(encoding="utf-8"))
        settings, pooling = dict(document["encoder"]), document.get("pooling", POOLINGS[0])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{config_file} is no config of an export ({error!r}): export the model again") from None
    check_settings(settings, source=config_file)
    if pooling not in POOLINGS:
        raise ValueError(f"{config_file}: pooling {pooling!r} is none of {', '.join(POOLINGS)}: export the model again")
    try:
        weights = {name: _aligned(weight) for name, weight in load_file(weights_file).items()}
    except SafetensorError as error:
        raise ValueError(f"{weights_file} is damaged ({error}): export or fetch it again") from None
    folder = Path(weights_file).parent
    of_head, of_lm_head = _taken(weights, HEAD_PREFIX), _taken(weights, LM_HEAD_PREFIX)
    encoder = build_encoder(weights, settings, source=folder)
    try:
        task = task_of_config(document)
        head = build_head(of_head, activation=document.get("classifier_activation", "tanh")) if of_head else None
        check_head(task, head, embed_dim=encoder.config.embed_dim)
        lm_head = build_lm_head(of_lm_head, embedding=encoder.embed_tokens.weight) if of_lm_head else None
    except ValueError as error:
        raise ValueError(f"{folder}: {error}: export or fetch it again") from None
    return SavedModel(encoder=encoder, pooling=pooling, task=task, head=head, lm_head=lm_head)


def check_settings(settings: Mapping[str, Any], *, source: str | Path) -> None:
    """Refuse what are no settings of an encoder.

    Args:
        settings: fields of `EncoderConfig` by name.
        source: named in messages.

    Raises:
        ValueError: if there is no such field, or a value is not of its kind.
    """
    known = {field.name: field.default for field in fields(EncoderConfig)}
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"{source} has the unknown setting {name!r}: export the model again")
        default = known[name]
        is_text = isinstance(default, str)
        is_number = isinstance(value, int | float) and (isinstance(value, int) or not isinstance(default, int))
        if not (isinstance(value, str) if is_text else is_number or (value is None and default is None)):
            kind = "text" if is_text else "number of its kind"
            raise ValueError(f"{source}: {name} is {value!r}, which is no {kind}: export or fetch it again")


def _aligned(weight: Tensor) -> Tensor:
    """Return a weight at an address as torch chooses them.

    The file puts it anywhere, and on some processors the last bits of a matrix product depend on that: an export would
    not give its checkpoint's.
    """
    return weight.clone() if weight.data_ptr() % _ALIGNMENT else weight


def _taken(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take weights whose names begin so out of a dict, and return them without it."""
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights.pop(name) for name in names}


def build_encoder(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], *, source: str | Path
) -> CrossThoughtEncoder:
    """Build the encoder that weights belong to; sizes come from the weights alone.

    Args:
        weights: by their name in `CrossThoughtEncoder`.
        settings: more fields of `EncoderConfig`; sizes among them must agree with the weights.
        source: named in messages.

    Raises:
        ValueError: if weights are missing, too many, of a wrong shape or not finite, or a setting does not fit.
    """
    try:
        embed_tokens, embed_positions = weights["embed_tokens.weight"], weights["embed_positions.weight"]
        sizes = {
            "vocab_size": embed_tokens.size(0),
            "embed_dim": embed_tokens.size(1),
            "num_positions": embed_positions.size(0) - 2,
            "ffn_dim": weights["layers.0.fc1.weight"].size(0),
            "num_layers": len({name.split(".")[1] for name in weights if name.startswith("layers.")}),
        }
    except (KeyError, IndexError) as error:
        raise ValueError(
            f"{source} holds no Cross-Thought encoder ({error.args[0]!r} is missing or has no such shape): "
            "give a checkpoint with the published parameter names"
        ) from None
    for name, size in sizes.items():
        if settings.get(name, size) != size:
            raise ValueError(f"{source}: {name} is {settings[name]!r} but the weights have {size}: export it again")
    check_settings(settings, source=source)
    try:
        config = EncoderConfig(**(dict(settings) | sizes))
        for name in ("pad_id", "bos_id", "eos_id"):
            if not 0 <= getattr(config, name) < config.vocab_size:
                raise ValueError(f"{name} is {getattr(config, name)}, and ids end at {config.vocab_size - 1}")
        with torch.device("meta"), _WithoutInitialisation():
            encoder = CrossThoughtEncoder(config)
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise ValueError(f"{source}: its settings do not fit together ({error}): export or fetch it again") from None
    _check_weights(encoder.state_dict(), weights, source=source)
    encoder.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return encoder.eval().requires_grad_(False)


def build_head(weights: Mapping[str, Tensor], *, activation: Any = "tanh") -> ClassificationHead:
    """Build the head that weights belong to; sizes come from the weights alone.

    Args:
        weights: `dense.weight`, `dense.bias`, `out_proj.weight` and `out_proj.bias`.
        activation: as the config says.

    Raises:
        ValueError: if one is missing, too many, of a wrong shape or not finite, or there is no such activation.
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"the head's activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
    try:
        (inner_dim, embed_dim), num_classes = weights["dense.weight"].shape, weights["out_proj.bias"].numel()
    except (KeyError, ValueError):
        raise ValueError("the classification head lacks weights, or they have no such shape") from None
    with torch.device("meta"), _WithoutInitialisation():
        head = ClassificationHead(embed_dim, inner_dim, num_classes, activation=activation)
    return load_head(head, weights, about="classification head", prefix=HEAD_PREFIX)


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves new weights undrawn: drawing them on the meta device imports torch's compiler, which takes a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return the tensor that a function of torch.nn.init was to fill as it is; call anything else."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        return func(*args, **kwargs)


def _check_weights(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, source: str | Path) -> None:
    """Refuse weights that are missing, too many, of another shape or not finite."""
    for name in expected:
        if name not in weights:
            raise ValueError(
                f"{source} lacks the weights {name}: it is a checkpoint of another architecture; give one with "
                "the published parameter names"
            )
    for name, weight in weights.items():
        if name not in expected:
            raise ValueError(f"{source} has the unknown weights {name}: it is a checkpoint of another architecture")
        if weight.shape != expected[name].shape:
            raise ValueError(
                f"{source}: {name} has shape {tuple(weight.shape)} where the other weights call for "
                f"{tuple(expected[name].shape)}: fetch or make the file again"
            )
        if not weight.isfinite().all():
            raise ValueError(f"{source}: {name} is not finite: the training diverged, take an earlier checkpoint")
