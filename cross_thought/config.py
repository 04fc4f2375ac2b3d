"""The effective config: what the user wrote, checked as a whole before any job starts.

    python -m cross_thought.config [FILE ...]

lays YAML files over config.yaml and says what is wrong with them, if anything: also what ends Snakemake before it comes
here (a file that is not there, not UTF-8, not YAML). Needs neither torch nor fairseq: the workflow reads the config
where only Snakemake is installed.
"""

import argparse
import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import jsonschema

from cross_thought.data.config_files import check_files, fill_in_data_dir
from cross_thought.data.embedding_tasks import embedding_tasks_of, poolings_of
from cross_thought.data.finetuning import check_finetuning
from cross_thought.data.models import check_ablation, check_model
from cross_thought.data.pairs import pair_tasks_of
from cross_thought.data.retrieval_tasks import COLLECTIONS_FILE, retrieval_tasks_of
from cross_thought.data.sweeps import SWEPT
from cross_thought.data.tasks import REGISTRY_FILE, tasks_of
from cross_thought.environment import REPOSITORY, repository_file
from cross_thought.errors import UserError, exit_on_user_error, shown
from cross_thought.extra_args import check_all_extra_args
from cross_thought.yaml_text import as_in_a_file, read_shipped_yaml, read_yaml

SCHEMA = REPOSITORY / "schemas" / "config.schema.yaml"
BASE = REPOSITORY / "config.yaml"

# mappings that an overlay replaces as a whole: whoever lists tasks or models wants these and no others
REPLACED = ("models", "tasks", "embedding_tasks", "retrieval_tasks")

# rows of the tables, and a column
_OF_MODELS = ("majority", "chance", "tf-idf", "bm25")
RESERVED_NAMES = {"models": _OF_MODELS, "tasks": ("average",), "embedding_tasks": ("average",)}
_TYPE_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "keys with values",
    "string": "text",
}

Config = dict


def load_config(overlay: Config, *, files: Iterable[Path] = (), command_line: Config | None = None) -> Config:
    """Lay what the user gives over config.yaml, and check the whole.

    Args:
        overlay: the merged `--configfile` files and `--config` values; `models`, `tasks`, `embedding_tasks` and
            `retrieval_tasks` in it replace those of config.yaml, all else is laid over it key by key. With `tasks` of
            its own but without `embedding_tasks`, it has none of the latter.
        files: those files: what stands twice in one cannot be seen in `overlay`.
        command_line: those values, of which Snakemake leaves numbers in lists and mappings text: `seeds='[1]'`.

    Raises:
        UserError: naming the file and line, or the key, its value and the remedy.
    """
    overlay = as_in_a_file(overlay, command_line or {})
    _check_layers([*((path, read_yaml(path)) for path in files), ("--config", command_line or {})])
    base = read_yaml(BASE)
    base |= {key: {} for key in REPLACED if key in overlay}
    if "tasks" in overlay:
        base["embedding_tasks"] = {}
    return effective_config(_merge(base, overlay))


def load_files(paths: Iterable[str | Path], **values: object) -> Config:
    """Lay YAML or JSON files, each over those before, and then `values` over config.yaml; raises as `load_config`."""
    layers: list[tuple[object, Config]] = [(path, read_yaml(Path(path))) for path in paths]
    _check_layers([*layers, ("the arguments", values)])
    given: Config = {}
    for _, layer in layers:
        given = _merge(given, layer)
    return load_config(_merge(given, values))


def _check_layers(layers: Iterable[tuple[object, Config]]) -> None:
    """Refuse an empty mapping over one that has entries: layers are laid over each other key by key, so these stay.

    Args:
        layers: what each is called, and what it holds, the lowest first.
    """
    holders: dict[str, object] = {}
    for place, layer in layers:
        for key, entries in _entries(layer):
            if entries == {} and key in holders:
                raise UserError(
                    f"{place}: {key} is empty, which takes nothing away from {key} of {holders[key]}: give one of them "
                    "alone, or a file without these"
                )
            if entries:
                holders[key] = place


def _entries(layer: Config) -> Iterator[tuple[str, object]]:
    """Yield the mappings whose keys users choose, each with its place in the config; None where there is none."""
    for key in (*REPLACED, "predict", "ablation"):
        yield key, layer.get(key)
    tuning = layer.get("embedding_tuning")
    if isinstance(tuning, Mapping):
        yield "embedding_tuning.pairs", tuning.get("pairs")


def effective_config(raw: Config) -> Config:
    """Check a complete config, and resolve its models.

    Returns:
        A copy in which each model holds all it inherits from `model_defaults`, and `{data_dir}` in paths is filled in.

    Raises:
        UserError: naming the key, its value and the remedy.
    """
    check_schema(raw)
    config = copy.deepcopy(raw)
    for section, names in RESERVED_NAMES.items():
        taken = next((name for name in names if name in config[section]), None)
        if taken is not None:
            raise UserError(f"config: {section}.{taken} has a name that the tables use themselves; choose another")
    for holder, key in [*((config, key) for key in REPLACED), (config["embedding_tuning"], "pairs")]:
        holder[key] = {name: entry or {} for name, entry in holder[key].items()}
    for name, overrides in config["models"].items():
        config["models"][name] = _merge(config["model_defaults"], overrides)
    fill_in_data_dir(config)
    for name, model in config["models"].items():
        check_model(name, model, defaults=config["model_defaults"], hardware=config["hardware"])
    check_all_extra_args(config)
    check_files(config)
    for name, task in config["tasks"].items():
        _check_start(name, config["tasks"])
        check_finetuning(name, task, config["finetuning"])
    for name, entry in config["embedding_tasks"].items():
        _check_embedding_task(name, entry, config["tasks"])
    for factor, names in (config["ablation"] or {}).items():
        check_ablation(factor, names, config["models"])
    tuning, poolings = config["embedding_tuning"], poolings_of(config)
    is_evaluated = any(config[key] for key in ("embedding_tasks", "retrieval_tasks", "mteb_tasks"))
    if tuning["pairs"] and is_evaluated and tuning["pooling"] not in poolings:
        raise UserError(
            f"config: embedding_tuning.pooling is {tuning['pooling']!r}, but embedding.pooling, by which all "
            f"embeddings are evaluated, is {', '.join(poolings)}: add it there"
        )
    if config["control"] is not None and config["control"] not in config["models"]:
        known = ", ".join(config["models"])
        raise UserError(
            f"config: control is {shown(config['control'])}, which is no model; choose one of {known}, or null"
        )
    if config["hardware"] == config["hardware"] | {"device": "cpu", "precision": "float16"}:
        raise UserError(
            "config: hardware.precision float16 needs hardware.device cuda; on a cpu use float32 or bfloat16"
        )
    return config


def check_schema(raw: Config) -> None:
    """Hold a config against the schema; a UserError names the first key that does not fit, in one sentence."""
    try:
        error = jsonschema.exceptions.best_match(_validator().iter_errors(raw))
    except RecursionError:
        raise UserError("config: it is nested too deep, or holds itself (a YAML alias within its anchor)") from None
    if error is not None:
        raise UserError(_describe(error))


def check_collections(registry: Mapping[str, Config]) -> None:
    """Hold the entries of collections that ship against the schema of `retrieval_tasks`, as `check_schema` does."""
    _check_entries(registry, "retrieval_task", COLLECTIONS_FILE)


def _check_entries(registry: Mapping[str, Config], kind: str, file: Path) -> None:
    validator = _validator()
    schema = {"additionalProperties": {"$ref": f"#/$defs/{kind}"}, "$defs": validator.schema["$defs"]}
    error = jsonschema.exceptions.best_match(validator.evolve(schema=schema).iter_errors(registry))
    if error is not None:
        raise UserError(_describe(error).replace("config", file.name, 1))


def check_registry(registry: Mapping[str, Config]) -> None:
    """Hold the entries of tasks that ship against the schema of `tasks`, as `check_schema` does."""
    _check_entries(registry, "task", REGISTRY_FILE)
    for name, entry in registry.items():
        for key in SWEPT:
            if isinstance(entry.get(key), list):
                raise UserError(f"{REGISTRY_FILE.name}: {name}.{key} is a list: give the published value")


def _is_integer(_: object, value: object) -> bool:
    """Whether a value is written as an integer: 900.0, an integer to JSON Schema, is none to fairseq's flags."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    """Whether a value is a finite number: no comparison would refuse YAML's .nan."""
    return _is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))


@cache
def _validator() -> jsonschema.protocols.Validator:
    """Return what holds a config against the schema."""
    standard = jsonschema.Draft202012Validator
    types = standard.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
    return jsonschema.validators.extend(standard, type_checker=types)(read_shipped_yaml(SCHEMA))


def _describe(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        near = get_close_matches(str(unknown), known, n=1, cutoff=0.7)
        remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"config: unknown key {shown(unknown)} at {place}; {remedy}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"config: key {missing!r} is missing at {place}; the default is in config.yaml"
    wanted = {
        "enum": lambda value: f"it must be one of {', '.join(map(str, value))}",
        "type": lambda value: _type_remedy([value] if isinstance(value, str) else value, error.instance),
        "minimum": lambda value: f"it must be at least {value}",
        "maximum": lambda value: f"it must be at most {value}",
        "exclusiveMinimum": lambda value: f"it must be more than {value}",
        "exclusiveMaximum": lambda value: f"it must be less than {value}",
        "minItems": lambda value: f"it needs at least {value} entries" if value > 1 else "it must not be empty",
        "maxItems": lambda value: f"it must have at most {value} entries",
        "minProperties": lambda value: "it must not be empty",
        "uniqueItems": lambda value: "its entries must differ",
        "maxLength": lambda value: f"it must have at most {value} characters",
        "pattern": lambda value: "use letters, digits, '.', '_' and '-' only, a letter or digit first",
        "anyOf": lambda value: error.schema.get("description", "see schemas/config.schema.yaml"),
    }
    remedy = wanted.get(error.validator, lambda value: error.message)(error.validator_value)
    if "propertyNames" in error.absolute_schema_path:
        return f"config: {place} has the name {shown(error.instance)}; {remedy}"
    return f"config: {place} is {shown(error.instance)}; {remedy}"


def _type_remedy(types: list[str], value: object) -> str:
    """Say what type is wanted, and how to write what was meant where YAML reads it as something else."""
    remedy = f"it must be {' or '.join(_TYPE_NAMES[name] for name in types)}"
    if "string" in types and not isinstance(value, dict | list | None):
        return f"{remedy}: put it in quotes"
    if isinstance(value, float) and value.is_integer() and "integer" in types:
        return f"{remedy}: write {int(value)}"
    if isinstance(value, str) and "number" in types:
        try:
            number = float(value)
        except ValueError:
            return remedy
        if math.isfinite(number):  # YAML takes 1e-5 for text
            mantissa, _, exponent = repr(number).partition("e")
            point = mantissa if "." in mantissa else f"{mantissa}.0"
            return f"{remedy}: write {point}e{exponent}" if exponent else f"{remedy}: write {point}"
    return remedy


def _merge(base: dict, over: dict) -> dict:
    """Return `base` with `over` laid over it, mapping by mapping."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else copy.deepcopy(value)
    return merged


def _check_start(name: str, tasks: dict[str, Config]) -> None:
    """Refuse a task that starts from the model of one that is not there, or of one that starts elsewhere itself."""
    start, place = tasks[name].get("start_from"), f"config: tasks.{name}.start_from"
    if start is None:
        return
    if start == name or start not in tasks:
        others = ", ".join(task for task in tasks if task != name) or "none"
        raise UserError(
            f"{place} is {shown(start)}, which is no other task of this config ({others}); add it, or set null"
        )
    if tasks[start].get("start_from"):
        raise UserError(
            f"{place} is {shown(start)}, which itself starts from {tasks[start]['start_from']}; name that one"
        )


def _check_embedding_task(name: str, entry: Config, tasks: dict[str, Config]) -> None:
    """Refuse a second description of the same data."""
    described = [key for key in entry if key not in ("positive_label", "evaluation")]
    if name in tasks and described:
        raise UserError(
            f"config: embedding_tasks.{name}.{described[0]}: the data of {name} are those of tasks.{name}; say it "
            "there, or give this one another name"
        )


def main() -> None:
    """Check a config as `snakemake` would, and the files that ship."""
    parser = argparse.ArgumentParser(prog="python -m cross_thought.config", description=main.__doc__)
    parser.add_argument("files", nargs="*", help="laid over config.yaml, one after the other")
    files = parser.parse_args().files
    for needed in (BASE, SCHEMA, REGISTRY_FILE, COLLECTIONS_FILE):
        repository_file(needed)
    check_registry(read_yaml(REGISTRY_FILE))
    check_collections(read_yaml(COLLECTIONS_FILE))
    checked = load_files(files)
    tasks_of(checked["tasks"])
    embedding_tasks_of(checked)
    retrieval_tasks_of(checked)
    pair_tasks_of(checked)
    print("config: all right")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
