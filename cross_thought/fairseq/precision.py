"""bfloat16 without a TPU: fairseq 0.10.0's `--bf16` asks for one; here it is autocast, on a CPU or a GPU.

Weights, their gradients, the optimizer's state, LayerNorm, softmax and loss stay in float32; matrix products take
bfloat16. So checkpoints are those of float32. `install()` changes the flag; call it on import, after the bridge.
"""

import argparse
import logging
from collections.abc import Callable

from fairseq import options
from fairseq.trainer import Trainer

from cross_thought.environment import slow_bfloat16

logger = logging.getLogger(__name__)

_HELP = "matrix products in bfloat16, on a CPU or a GPU (no TPU, no torch_xla); all else, and checkpoints, in float32"


def install() -> None:
    """Let `--bf16` mean autocast. fairseq's own code never sees it set."""
    options.get_parser = _with_bfloat16(options.get_parser)
    Trainer.__init__ = _refusing_others(Trainer.__init__)


def _with_bfloat16(get_parser: Callable) -> Callable:
    """Wrap how fairseq makes a parser: the flag goes to another argument, which our models look at."""

    def wrapped(*what: object, **named: object) -> argparse.ArgumentParser:
        parser = get_parser(*what, **named)
        for flag, text in (("--bf16", _HELP), ("--memory-efficient-bf16", "the same as --bf16")):
            action = parser._option_string_actions[flag]
            action.dest, action.help = "bfloat16", text
        parser.set_defaults(bf16=False, memory_efficient_bf16=False)
        return parser

    return wrapped


def _refusing_others(init: Callable) -> Callable:
    """Wrap a trainer's start: with `--bf16`, refuse a model that knows nothing of it, rather than train in float32."""

    def wrapped(self: Trainer, args: argparse.Namespace, task: object, model: object, *what: object) -> None:
        if getattr(args, "bfloat16", False):
            from cross_thought.fairseq.model import CrossThoughtModel

            if not isinstance(model, CrossThoughtModel):
                raise ValueError(f"--bf16 is for cross_thought's architectures, not {args.arch}: leave the flag out")
            if args.fp16:
                raise ValueError("--fp16 and --bf16 exclude each other: leave one of them out")
            note = slow_bfloat16() if args.cpu else None
            if note:
                logger.warning(note)
        init(self, args, task, model, *what)

    return wrapped
