"""What an export's folder says of its embeddings: pooling, modules behind the encoder, prompts, lengths; data alone.

Sentence Transformers applies all of it, so `SentenceEncoder` does, too, or refuses the folder.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from cross_thought.encoder.tokenizer import check_prompt
from cross_thought.errors import UserError
from cross_thought.files import refuse_lfs_pointer

# of exports: what this package loads; what Sentence Transformers and transformers load as well; what onnxruntime runs
FORMATS = ("safetensors", "sentence-transformers", "onnx")

MODULES_FILE = "modules.json"
LIBRARY_CONFIG_FILE = "config_sentence_transformers.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
MODULE_FILES = ("config.json", "model.safetensors")  # of a module behind the encoder
OUR_MODULE = "CrossThoughtModule"

_POOLINGS = {"mean": "mean", "cls": "slot0"}  # of a Pooling behind the slots, as ours
_ACTIVATIONS = {
    name: getattr(nn, name) for name in ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU")
}
_INPUT = "sentence_embedding"


class Normalize(nn.Module):
    """Scales embeddings to length 1."""

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return embeddings of the same shape, (n, d)."""
        return F.normalize(embeddings, dim=-1)


class Dense(nn.Module):
    """A linear layer with an activation, and what was put in added to it if `use_residual`.

    Args:
        weights: `linear.weight`, shape (d_out, d_in), maybe `linear.bias` and `residual.weight`.
        activation: applied to the linear layer's output.
        use_residual: add the input, or its projection by `residual.weight` if there is one.
    """

    def __init__(self, weights: Mapping[str, Tensor], activation: nn.Module, *, use_residual: bool) -> None:
        super().__init__()
        for name, weight in weights.items():
            self.register_buffer(name.replace(".", "_"), weight.float())
        self.activation = activation
        self.use_residual = use_residual
        self.out_features, self.in_features = weights["linear.weight"].shape

    def forward(self, embeddings: Tensor) -> Tensor:
        """Take embeddings of shape (n, d_in) to shape (n, d_out)."""
        buffers = dict(self.named_buffers(recurse=False))
        outputs = self.activation(F.linear(embeddings, buffers["linear_weight"], buffers.get("linear_bias")))
        if not self.use_residual:
            return outputs
        return outputs + (
            F.linear(embeddings, buffers["residual_weight"]) if "residual_weight" in buffers else embeddings
        )


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """How embeddings are made of slot states.

    Attributes:
        pooling: of the slots.
        layers: applied to the pooled slots, one after the other.
        folders: of the layers' files, by their order.
        truncate_dim: numbers of an embedding that are kept, at the very end; None: all.
        prompts: texts to put before sentences, by name.
        default_prompt_name: the one that is put there unless the user says otherwise; None: none.
        max_seq_length: tokens that a sentence may have, `<s>` and `</s>` included; None: as the positions allow.
        library: what else the library's config says, for a further export.
    """

    pooling: str = "mean"
    layers: tuple[nn.Module, ...] = ()
    folders: tuple[Path, ...] = ()
    truncate_dim: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    max_seq_length: int | None = None
    library: Mapping[str, Any] = field(default_factory=dict)

    @property
    def default_prompt(self) -> str:
        """The text that is put before sentences unless the user says otherwise."""
        return "" if self.default_prompt_name is None else self.prompts[self.default_prompt_name]

    def prompt_for(self, prompt: str | None, prompt_name: str | None) -> str:
        """Return the text to put before sentences: one that is given, by its name or itself, or the default one.

        Raises:
            TypeError: if it is no string.
            ValueError: if both are given, there is no such name, or it holds half a surrogate pair.
        """
        if prompt is not None and prompt_name is not None:
            raise ValueError(f"prompt {prompt!r} and prompt_name {prompt_name!r} exclude each other: give one of them")
        if prompt_name is not None and prompt_name not in self.prompts:
            known = ", ".join(self.prompts) or "none"
            raise ValueError(f"prompt_name {prompt_name!r} is no prompt of this model: it has {known}")
        if prompt is None:
            prompt = self.default_prompt if prompt_name is None else self.prompts[prompt_name]
        check_prompt(prompt)
        return prompt


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How embeddings are made: of a folder's settings and what the user said."""

    pooling: str
    layers: Sequence[nn.Module]
    normalize: bool
    prompt: str
    width: int


def read_settings(folder: Path, *, pooling: str) -> EmbeddingSettings:
    """Read what a folder says beside the encoder, of an export, or of a model that Sentence Transformers saved.

    `pooling` is that of config.json.

    Raises:
        UserError: if a file is damaged, or asks for what is not applied here.
    """
    library = _read(folder / LIBRARY_CONFIG_FILE, dict)
    prompts, default = library.get("prompts") or {}, library.get("default_prompt_name")
    truncate_dim = library.get("truncate_dim")
    longest = _read(folder / TOKENIZER_CONFIG_FILE, dict).get("model_max_length")
    path = folder / LIBRARY_CONFIG_FILE
    if not (isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())):
        raise UserError(f"{path}: prompts are {prompts!r}, not texts by their names: correct them")
    if default is not None and default not in prompts:
        raise UserError(f"{path}: default_prompt_name is {default!r}, but prompts have no such name: correct it")
    if truncate_dim is not None and (type(truncate_dim) is not int or truncate_dim < 1):
        raise UserError(f"{path}: truncate_dim is {truncate_dim!r}, which is no number of at least 1: correct it")
    if longest is not None and not (isinstance(longest, int | float) and longest >= 2):
        raise UserError(
            f"{folder / TOKENIZER_CONFIG_FILE}: model_max_length is {longest!r}, but a sentence has 2 tokens more than "
            "its words: correct it"
        )
    pooling, layers, folders = _read_modules(folder, pooling)
    return EmbeddingSettings(
        pooling=pooling,
        layers=layers,
        folders=folders,
        truncate_dim=truncate_dim,
        prompts=prompts,
        default_prompt_name=default,
        max_seq_length=None if longest in (None, math.inf) else int(longest),
        library={name: value for name, value in library.items() if name not in ("__version__", "requirements")},
    )


def _read_modules(folder: Path, pooling: str) -> tuple[str, tuple[nn.Module, ...], tuple[Path, ...]]:
    """Return the pooling, the layers behind it and their folders, as modules.json lists them."""
    path = folder / MODULES_FILE
    entries = _read(path, list)
    try:
        modules = [(str(entry["type"]), str(entry["path"])) for entry in entries]
    except (KeyError, TypeError):
        raise UserError(f"{path} is no list of modules with `type` and `path`: export the model again") from None
    if not modules:
        return pooling, (), ()
    if modules[0][0].rpartition(".")[2] != OUR_MODULE or modules[0][1]:
        raise UserError(f"{path} begins with {modules[0][0]!r}, which is no Cross-Thought encoder: give an export")
    layers: list[nn.Module] = []
    folders: list[Path] = []
    for number, (kind, place) in enumerate(modules[1:]):
        name = kind.rpartition(".")[2] if kind.startswith("sentence_transformers.") else kind
        below = folder / place
        if not below.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path}: the module {kind!r} lies in {place!r}, which is outside the folder: correct it")
        config = _read(below / MODULE_FILES[0], dict)
        if name == "Pooling" and number == 0:
            pooling = _pooling(config, below)
        elif name in ("Normalize", "Dense"):
            _check_ends(config, below)
            layers.append(Normalize() if name == "Normalize" else _dense(config, below))
            folders.append(below)
        else:
            raise UserError(
                f"{path} has {kind!r} as its module {number + 1}, which is not applied here (Normalize and Dense are, "
                "and a Pooling at once behind the encoder): take it out, or use Sentence Transformers"
            )
    return pooling, tuple(layers), tuple(folders)


def _pooling(config: Mapping[str, Any], folder: Path) -> str:
    """Return the pooling that is a library's Pooling of slots."""
    mode = config.get("pooling_mode")
    if not isinstance(mode, str) or mode not in _POOLINGS or not config.get("include_prompt", True):
        raise UserError(
            f"{folder} pools slots by {mode!r}{'' if config.get('include_prompt', True) else ' without the prompt'}, "
            "which is not applied here (mean and cls are): use Sentence Transformers"
        )
    return _POOLINGS[mode]


def _check_ends(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a layer that works on anything but the sentence's embedding."""
    for key in ("module_input_name", "module_output_name"):
        if config.get(key, _INPUT) not in (_INPUT, None):
            raise UserError(f"{folder}: {key} is {config[key]!r}, but only {_INPUT!r} is known here: correct it")


def _dense(config: Mapping[str, Any], folder: Path) -> Dense:
    """Load a library's Dense."""
    name = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    module, _, activation = str(name).rpartition(".")
    if not module.startswith("torch.nn") or activation not in _ACTIVATIONS:
        raise UserError(
            f"{folder}: activation_function {name!r} is none of {', '.join(_ACTIVATIONS)} of torch.nn, which are "
            "applied here: use Sentence Transformers"
        )
    path = folder / MODULE_FILES[1]
    refuse_lfs_pointer(path)
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no {path.name}: save the model again with Sentence Transformers (safe_serialization=True)"
        ) from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): save or fetch it again") from None
    use_residual = bool(config.get("use_residual"))
    width = (config.get("out_features"), config.get("in_features"))
    expected: dict[str, tuple] = {"linear.weight": width}
    if config.get("bias", True):
        expected["linear.bias"] = width[:1]
    if use_residual and width[0] != width[1]:
        expected["residual.weight"] = width
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    if found != expected:
        raise UserError(
            f"{path} has weights of the shapes {found} where its config calls for {expected}: save it again"
        )
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise UserError(f"{path}: {name} is not finite: the training diverged, take an earlier model")
    return Dense(weights, _ACTIVATIONS[activation](), use_residual=use_residual)


def _read(path: Path, kind: type) -> Any:
    """Return a JSON file of a folder; if it is not there, an empty document of its kind."""
    refuse_lfs_pointer(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return kind()
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): save or fetch the model again") from None
    if not isinstance(document, kind):
        raise UserError(f"{path} is no JSON {'object' if kind is dict else 'list'}: save or fetch the model again")
    return document
