"""fairseq's own command line with the encoder registered.

    python -m cross_thought.fairseq train|preprocess|validate ARGS

ARGS are fairseq's: any flag of fairseq-train, fairseq-preprocess and fairseq-validate works. Registration happens on
import, because the processes that multi-GPU training spawns import this module and do not run `main`.
"""

import sys
from importlib import import_module

from cross_thought.fairseq import bridge

bridge.install()
import_module("cross_thought.fairseq.model")
import_module("cross_thought.fairseq.answer_selection")
import_module("cross_thought.fairseq.optimizer")
import_module("cross_thought.fairseq.precision").install()
import_module("cross_thought.fairseq.saving").install()

COMMANDS = ("train", "preprocess", "validate")


def main() -> None:
    """Run the command that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        given = f", not {sys.argv[1]!r}" if len(sys.argv) > 1 else ""
        sys.exit(f"usage: python -m cross_thought.fairseq {'|'.join(COMMANDS)} ARGS{given}")
    command = sys.argv.pop(1)
    sys.argv[0] = f"cross_thought.fairseq {command}"
    import_module(f"fairseq_cli.{command}").cli_main()


if __name__ == "__main__":
    main()
