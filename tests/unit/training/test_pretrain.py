"""What defines a pre-training: its flags, and the content of what it starts from."""

from cross_thought.config import load_config
from workflow_scripts.pretrain import training_flags

CONFIG = load_config({})


def flags(**changes: object) -> list[str]:
    model = CONFIG["models"]["cross_thought"] | changes
    return training_flags(model, seed=1, hardware=CONFIG["hardware"])


def test_the_place_of_a_start_is_none_of_its_flags() -> None:
    assert flags(initialize_from="old/model.pt") == flags(initialize_from="/moved/model.pt") == flags()
