"""fairseq's own command line with the encoder registered.

    python -m cross_thought.fairseq train|preprocess|validate ARGS

ARGS are fairseq's: any flag of fairseq-train, fairseq-preprocess and fairseq-validate works. Registration happens on
import, because the processes that multi-GPU training spawns import this module and do not run `main`.
"""

import argparse
import sys
from functools import partial
from importlib import import_module
from typing import Any

import torch.distributed

from cross_thought.errors import exit_on_user_error
from cross_thought.fairseq import bridge, checks

bridge.install()
import_module("cross_thought.fairseq.model")
import_module("cross_thought.fairseq.answer_selection")
import_module("cross_thought.fairseq.classification")
import_module("cross_thought.fairseq.masked_sentences")
import_module("cross_thought.fairseq.precision").install()
import_module("cross_thought.fairseq.saving").install()

COMMANDS = ("train", "preprocess", "validate")


def main() -> None:
    """Run the command that the first argument names."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        given = f", not {sys.argv[1]!r}" if len(sys.argv) > 1 else ""
        sys.exit(f"usage: python -m cross_thought.fairseq {'|'.join(COMMANDS)} ARGS{given}")
    command = sys.argv.pop(1)
    sys.argv[0] = f"cross_thought.fairseq {command}"
    program: Any = import_module(f"fairseq_cli.{command}")
    if command != "preprocess":
        program.options.parse_args_and_arch = partial(_parse_and_check, program.options.parse_args_and_arch)
    with exit_on_user_error():
        program.cli_main()
    if torch.distributed.is_initialized():
        # left to Python's end, gloo's threads now and then abort a training that is done
        torch.distributed.destroy_process_group()


def _parse_and_check(parse: Any, *arguments: Any, **options: Any) -> argparse.Namespace:
    """Parse the command line as fairseq does, and refuse what it would pass over."""
    args = parse(*arguments, **options)
    if not options.get("suppress_defaults"):
        checks.check_arguments(args)
    return args


if __name__ == "__main__":
    main()
