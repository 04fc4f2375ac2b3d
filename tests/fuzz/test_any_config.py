"""Whatever YAML says, a config is taken or refused in one sentence."""

import copy
import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cross_thought.config import BASE, load_config
from cross_thought.data.tasks import TASKS, task_from_config
from cross_thought.errors import UserError
from cross_thought.yaml_text import read_yaml
from tests.fuzz.conftest import FACTOR, assert_one_sentence
from workflow_scripts import finetune, pretrain

DEMO = yaml.safe_load(BASE.read_text(encoding="utf-8"))
WORDS = [
    "cross_thought",
    "mlm",
    "RTE",
    "path",
    "files",
    "{data_dir}",
    "/",
    "gpt2",
    "each",
    "1e-5",
    "majority",
    "\0",
    "a" * 300,
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
    | st.dates(datetime.date(2000, 1, 1))
    | st.binary(max_size=3)
)


def names(config: object) -> set[str]:
    """Return every key in a config, at any depth."""
    if not isinstance(config, dict):
        return set()
    return set(config).union(*map(names, config.values()))


KEYS = st.sampled_from(sorted(names(DEMO) | {"train", "valid", "input_columns", "label_column", "labels", "metrics"}))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed_demos(draw: st.DrawFn) -> dict:
    """Draw the demo's config with some values replaced, at any depth."""
    config = copy.deepcopy(DEMO)
    for _ in range(draw(st.integers(1, 3))):
        place, key = config, draw(st.sampled_from(sorted(DEMO)))
        while isinstance(place.get(key), dict) and place[key] and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from(sorted(place, key=str)))
        place[key] = draw(VALUES)
    return config


def take_or_refuse(overlay: dict) -> None:
    """Load a config; where it is taken, name its tasks and its command lines."""
    try:
        config = load_config(overlay)
        tasks = {name: task_from_config(name, entry) for name, entry in config["tasks"].items()}
    except UserError as error:
        assert_one_sentence(error)
        return
    for model in config["models"].values():
        pretrain.training_flags(model, seed=1, hardware=config["hardware"])
        for name, task in tasks.items():
            options = finetune.finetuning_settings(task, config["finetuning"], config["tasks"][name])
            finetune.training_flags(task, model=model, settings=options, seed=1, hardware=config["hardware"])


@settings(max_examples=150 * FACTOR)
@given(changed_demos())
def test_changed_values(overlay: dict) -> None:
    take_or_refuse(overlay)


@settings(max_examples=50 * FACTOR)
@given(st.dictionaries(KEYS | SCALARS, VALUES, max_size=4))
def test_any_mapping(overlay: dict) -> None:
    take_or_refuse(overlay)


OWN_VALUES = {
    "files": st.fixed_dictionaries({"train": st.sampled_from(["a", ""]), "valid": st.text(max_size=3)}),
    "input_columns": st.lists(st.integers(1, 3) | st.sampled_from(["a", ""]), max_size=3),
    "label_column": st.integers(1, 3) | st.sampled_from(["a", ""]) | st.none(),
    "labels": st.none() | st.lists(st.text(max_size=2) | st.sampled_from(["<s>", "a\tb"]), max_size=3),
    "metrics": st.lists(st.sampled_from(["accuracy", "f1", "pearson", "bleu"]), max_size=2),
    "header": st.booleans(),
    "score_scale": st.floats() | st.none(),
}


@settings(max_examples=100 * FACTOR)
@given(st.sampled_from(["mine", *TASKS]), st.fixed_dictionaries({}, optional=OWN_VALUES))
def test_own_tasks(name: str, entry: dict) -> None:
    try:
        task_from_config(name, entry)
    except UserError as error:
        assert_one_sentence(error)


@settings(max_examples=100 * FACTOR, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=40) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t1.\0é", max_size=40).map(str.encode))
def test_any_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(read_yaml(path), dict)
    except UserError as error:
        assert_one_sentence(error)


@settings(max_examples=50 * FACTOR, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS, first=VALUES, second=VALUES)
def test_a_key_twice_is_seen_at_any_depth(key: str, first: object, second: object, tmp_path: Path) -> None:
    lines = [yaml.safe_dump({key: value}, allow_unicode=True).strip() for value in (first, second)]
    text = "deep:\n" + "".join(f"  {line}\n" for entry in lines for line in entry.split("\n"))
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"key '{key}' stands twice"):
        read_yaml(path)
