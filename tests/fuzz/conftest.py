"""The same examples each time, for CI; CROSS_THOUGHT_FUZZ=20 draws new ones, and 20 times as many."""

import os
import re

from hypothesis import settings

from cross_thought.errors import UserError

FACTOR = int(os.environ.get("CROSS_THOUGHT_FUZZ", "1"))

settings.register_profile("cross_thought", derandomize=FACTOR == 1, deadline=None, database=None)
settings.load_profile("cross_thought")


def assert_one_sentence(error: UserError) -> None:
    """Hold a message to what a user can read at a glance."""
    assert re.fullmatch(r"[^\n]{1,1000}", str(error)), error
