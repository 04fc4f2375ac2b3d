"""What every workflow script does around its work: a log file, errors in one sentence, an end with its Snakemake."""

import ctypes
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import IO

from cross_thought.errors import UserError, environment_error


@contextmanager
def logged_job(log: str) -> Iterator[None]:
    """Send what a script prints and logs to its log file; end it with status 1 and one sentence on a `UserError`.

    Any other exception leaves its traceback there.
    """
    end_with_parent()
    with _log_file(log) as file, redirect_stdout(file), redirect_stderr(file):
        logging.basicConfig(stream=file, level=logging.INFO, format="%(message)s", force=True)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            sentence = error if isinstance(error, UserError) else environment_error(error)
            last_words = traceback.format_exc() if sentence is None else f"error: {sentence}\n"
            try:
                file.write(last_words)
            except OSError:  # a full disk takes no log either: the terminal has to do
                print(last_words, end="", file=sys.__stderr__)
            sys.exit(1)


@contextmanager
def _log_file(path: str) -> Iterator[IO[str]]:
    """Open a job's log; one that cannot be written is told on the terminal."""
    try:
        file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115  (closed below, where the disk may be full)
    except OSError as error:
        sys.exit(f"error: {environment_error(error) or error}")
    try:
        yield file
    finally:
        with suppress(OSError):  # what a full disk did not take
            file.close()


def end_with_parent() -> None:
    """Get SIGTERM when the process that started this one dies, even if it is killed.

    So no job outlives its Snakemake, to write where a new run writes. Linux alone can do this.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def import_from(repository: str) -> None:
    """Let every process that this one starts import the package from a folder, in whatever environment it runs.

    Raises:
        UserError: if the folder's path cannot stand among others in PYTHONPATH.
    """
    if os.pathsep in repository:
        raise UserError(
            f"{repository}: Python finds no package below a name with {os.pathsep!r} in it: rename the folder"
        )
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([repository, inherited] if inherited else [repository])
