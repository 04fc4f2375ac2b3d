"""The length of a fine-tuning's schedule, where no published one holds."""

import numpy as np
import pytest

from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from workflow_scripts.finetune import with_schedule

SETTINGS = {"num_epochs": 3, "batch_size": 10, "max_tokens": 1000, "num_updates": None, "warmup_updates": None}


@pytest.mark.parametrize(
    ("changes", "updates", "warmup"),
    [
        ({}, 3 * 20, 4),
        ({"max_tokens": 50}, 3 * 40, 8),
        ({"num_updates": 100}, 100, 6),
        ({"num_updates": 100, "warmup_updates": 0}, 100, 0),
        ({"warmup_updates": 59}, 60, 59),
    ],
)
def test_what_is_not_said_follows_from_the_data(changes: dict, updates: int, warmup: int) -> None:
    found = with_schedule(SETTINGS | changes, np.full(200, 10), task=TASKS["RTE"])
    assert (found["num_updates"], found["warmup_updates"]) == (updates, warmup)


def test_a_warm_up_as_long_as_the_epochs_is_refused() -> None:
    with pytest.raises(UserError, match=r"warmup_updates 60 of tasks\.RTE must be less than the 60 updates that its 3"):
        with_schedule(SETTINGS | {"warmup_updates": 60}, np.full(200, 10), task=TASKS["RTE"])
