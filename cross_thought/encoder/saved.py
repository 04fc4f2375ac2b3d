"""An encoder as files: `config.json` and `model.safetensors`. What does not fit is refused before it is computed with.

Exports carry this file, so that Sentence Transformers refuses what `SentenceEncoder` refuses.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cross_thought.encoder.encoder import POOLINGS, CrossThoughtEncoder, EncoderConfig

MODEL_TYPE = "cross_thought"


def config_document(config: EncoderConfig, pooling: str) -> dict[str, Any]:
    """Return what config.json holds."""
    return {"model_type": MODEL_TYPE, "pooling": pooling, "encoder": asdict(config)}


def load_encoder(config_file: str | Path, weights_file: str | Path) -> tuple[CrossThoughtEncoder, str]:
    """Load an encoder, on the CPU, in float32, ready to embed.

    Args:
        config_file: config.json, as `config_document` has it.
        weights_file: model.safetensors, the encoder's `state_dict()`.

    Returns:
        The encoder, and the pooling of its embeddings.

    Raises:
        ValueError: if a file is damaged or does not fit the other, in a sentence.
    """
    try:
        document = json.loads(Path(config_file).read_text(encoding="utf-8"))
        settings, pooling = document["encoder"], document.get("pooling", POOLINGS[0])
        unknown = sorted(set(settings) - {field.name for field in fields(EncoderConfig)})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{config_file} is no config of an export ({error!r}): export the model again") from None
    if unknown:
        raise ValueError(f"{config_file} has the unknown setting {unknown[0]!r}: export the model again")
    if pooling not in POOLINGS:
        raise ValueError(f"{config_file}: pooling {pooling!r} is none of {', '.join(POOLINGS)}: export the model again")
    try:
        weights = load_file(weights_file)
    except SafetensorError as error:
        raise ValueError(f"{weights_file} is damaged ({error}): export or fetch it again") from None
    return build_encoder(weights, settings, source=Path(weights_file).parent), pooling


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
    for name, value in settings.items():
        default = getattr(EncoderConfig, name)
        is_text = isinstance(default, str)
        is_number = isinstance(value, int | float) and (isinstance(value, int) or not isinstance(default, int))
        if not (isinstance(value, str) if is_text else is_number or (value is None and default is None)):
            kind = "text" if is_text else "number of its kind"
            raise ValueError(f"{source}: {name} is {value!r}, which is no {kind}: export or fetch it again")
    try:
        with torch.device("meta"), _WithoutInitialisation():
            encoder = CrossThoughtEncoder(EncoderConfig(**(dict(settings) | sizes)))
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise ValueError(f"{source}: its settings do not fit together ({error}): export or fetch it again") from None
    _check_weights(encoder.state_dict(), weights, source=source)
    encoder.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return encoder.eval().requires_grad_(False)


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
