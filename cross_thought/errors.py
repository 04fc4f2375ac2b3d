"""Errors that a user can mend: one sentence each, no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something outside the code is wrong: the message names it, its place and the remedy."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a `UserError` into its one sentence on stderr and exit status 1."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
