"""What each part of the battery gets and gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.sides import Sizes

Found = TypeVar("Found")


class Skip(Exception):
    """A part cannot run here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a part runs with.

    Attributes:
        device: "cpu" or "cuda".
        small: whether to only try the code out.
        folder: its own, for whatever it writes.
        data: the user's folder with glue/ and gpt2_bpe/; None: text is generated.
        fairseq_tests: the `tests/` folder of fairseq's sources.
    """

    device: str
    small: bool
    folder: Path
    data: Path | None = None
    fairseq_tests: Path | None = None

    @property
    def sizes(self) -> Sizes:
        """Sizes of the model: the published ones, or the smallest."""
        if self.small:
            return Sizes(vocab_size=300, num_layers=1, num_heads=1, num_slots=2, segment_length=16)
        return Sizes()

    @property
    def stream_tokens(self) -> int:
        """Words of a pre-training stream."""
        return 320 if self.small else 32000

    @property
    def half_precisions(self) -> tuple[str, ...]:
        """The 16-bit types that are worth measuring: those that the device multiplies matrices in."""
        if self.device == "cpu":
            return ("bfloat16",)
        return ("float16", "bfloat16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("float16",)


@dataclass(kw_only=True)
class Outcome:
    """What a part has found: a table, and all figures."""

    header: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def need(*modules: str) -> None:
    """Skip the part where a module is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise Skip(f"{module} is not installed")


def longest_that_fits(tokens: int, run: Callable[[int], Found]) -> tuple[Found, int]:
    """Run on a stream of so many words, or of half as many where the GPU's memory does not hold it, and so on.

    Returns:
        What `run` gives, and the words.
    """
    while True:
        try:
            return run(tokens), tokens
        except torch.OutOfMemoryError:
            if tokens < 2000:
                raise
        tokens //= 2
        torch.cuda.empty_cache()
