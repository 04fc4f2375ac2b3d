"""What every workflow script does around its work: a log file, errors in one sentence, an end with its Snakemake."""

import ctypes
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from cross_thought.errors import UserError


@contextmanager
def logged_job(log: str) -> Iterator[None]:
    """Send what a script prints and logs to its log file; end it with status 1 and one sentence on a `UserError`.

    Args:
        log: the rule's log file. Any other exception leaves its traceback there.
    """
    end_with_parent()
    with open(log, "w", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        logging.basicConfig(stream=file, level=logging.INFO, format="%(message)s", force=True)
        try:
            yield
        except UserError as error:
            print(f"error: {error}", file=file)
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=file)
            raise


def end_with_parent() -> None:
    """Get SIGTERM when the process that started this one dies, even if it is killed.

    So no job outlives its Snakemake, to write where a new run writes. Linux alone can do this.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def import_from(repository: str) -> None:
    """Let every process that this one starts import the package from a folder, in whatever environment it runs."""
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([repository, inherited] if inherited else [repository])
