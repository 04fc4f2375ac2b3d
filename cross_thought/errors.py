"""Errors that a user can mend: one sentence each, no traceback."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something outside the code is wrong: the message names it, its place and the remedy."""


_LONGEST_VALUE = 80  # characters of a value that a message shows

DISK_FULL = "the disk is full: free some space and run the same command again"
READ_ONLY = "the file system is read-only: run in a folder where you may write"
OUT_OF_MEMORY = (
    "the memory does not hold it: give the job more, or lower batch_size, max_tokens or tokens_per_sample "
    "(in embedding, --batch-tokens), or in training set hardware.checkpoint_activations to true"
)
_TORCH_OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator")  # in a RuntimeError's text, on a GPU and on a CPU

_REMEDIES = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EFBIG: "the file would be larger than is allowed here: raise the limit (ulimit -f) or use another disk",
    errno.EROFS: READ_ONLY,
    errno.EACCES: "you may not read or write it: change its permissions",
    errno.EPERM: "you may not read or write it: change its permissions",
    errno.EISDIR: "it is a folder where a file is needed: correct the path or move the folder away",
    errno.ENOTDIR: "it is a file where a folder is needed: correct the path or move the file away",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EIO: "the disk does not work: see to it, then run the same command again",
}


def environment_error(error: BaseException) -> UserError | None:
    """Return the sentence for an error that the machine or Ctrl-C made and no code can mend; None for any other."""
    if isinstance(error, KeyboardInterrupt):
        return UserError("stopped by Ctrl-C: the same command goes on")
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _TORCH_OUT_OF_MEMORY)
    ):
        return UserError(OUT_OF_MEMORY)
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        place = f"{error.filename}: " if error.filename else ""
        return UserError(f"{place}{_REMEDIES[error.errno]}")
    return None


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a `UserError` into its one sentence on stderr and exit status 1."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def shown(value: object) -> str:
    """Return a value as a message shows it: in one line, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
