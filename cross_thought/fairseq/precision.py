"""bfloat16 without a TPU: fairseq 0.10.0's `--bf16` asks for one; here it is autocast, on a CPU or a GPU.

Weights, their gradients, the optimizer's state, LayerNorm and loss are float32, and softmax is computed in it; matrix
products take bfloat16. So checkpoints are those of float32. `install()` changes the flag; call it on import, after the
bridge.
"""

import argparse
from collections.abc import Callable

from fairseq import options

_HELP = "matrix products in bfloat16, on a CPU or a GPU (no TPU, no torch_xla); all else, and checkpoints, in float32"


def install() -> None:
    """Let `--bf16` mean autocast. fairseq's own code never sees it set."""
    options.get_parser = _with_bfloat16(options.get_parser)


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
