"""What a case of bad input is. Each is run for real, in an empty folder; what it prints is what docs/bad-input.md shows."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cross_thought.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something that goes wrong, or looks as if it would.

    Attributes:
        group: section of the page.
        what: what is wrong, in a few words of Markdown.
        run: does it in the current folder, which is empty, and returns what is printed; skips where it can't be done.
        refused: whether it must end in an error; else it must go through, and what is printed says so.
    """

    group: str
    what: str
    run: Callable[[], str]
    refused: bool = True

    @property
    def name(self) -> str:
        """Name of the case among all tests."""
        words = re.findall(r"\w+", self.what.replace("'", ""))
        return "-".join([self.group.split()[0].lower(), *words[:12]])


def refusal(action: Callable[[], object]) -> str:
    """Return the sentence that an action is refused with."""
    with pytest.raises(UserError) as error:
        action()
    return str(error.value)
