"""The effective config: what the user wrote, checked as a whole before any job starts.

Needs neither torch nor fairseq: the workflow reads it where only Snakemake is installed.
"""

import copy
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import jsonschema
import yaml

from cross_thought.errors import UserError

REPOSITORY = Path(__file__).parents[1]
SCHEMA = REPOSITORY / "schemas" / "config.schema.yaml"
BASE = REPOSITORY / "config.yaml"

# mappings that an overlay replaces as a whole: whoever lists tasks or models wants these and no others
REPLACED = ("models", "tasks", "embedding_tasks")

Config = dict


def load_config(overlay: Config) -> Config:
    """Lay what the user gives over config.yaml, and check the whole.

    Args:
        overlay: the merged `--configfile` files and `--config` values; `models`, `tasks` and `embedding_tasks` in it
            replace those of config.yaml, all else is laid over it key by key. With `tasks` of its own but without
            `embedding_tasks`, it has none of the latter.

    Raises:
        UserError: naming the key, its value and the remedy.
    """
    try:
        base = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{BASE} cannot be read: {' '.join(str(error).split())}") from None
    base |= {key: {} for key in REPLACED if key in overlay}
    if "tasks" in overlay:
        base["embedding_tasks"] = {}
    return effective_config(_merge(base, overlay))


def effective_config(raw: Config) -> Config:
    """Check a config and resolve its models.

    Args:
        raw: a complete config.

    Returns:
        A copy in which each model holds all it inherits from `model_defaults`, and `{data_dir}` in paths is filled in.

    Raises:
        UserError: naming the key, its value and the remedy.
    """
    check_schema(raw)
    config = copy.deepcopy(raw)
    for key in REPLACED:
        config[key] = {name: entry or {} for name, entry in config[key].items()}
    for name, overrides in config["models"].items():
        config["models"][name] = _merge(config["model_defaults"], overrides)
    _fill_in_data_dir(config)
    for name, model in config["models"].items():
        _check_model(name, model)
        _check_processes(name, model, config["hardware"])
    _check_files(config)
    for name in config["tasks"]:
        _check_start(name, config["tasks"])
    for name, entry in config["embedding_tasks"].items():
        _check_embedding_task(name, entry, config["tasks"])
    for factor, names in (config["ablation"] or {}).items():
        _check_ablation(factor, names, config["models"])
    if config["control"] is not None and config["control"] not in config["models"]:
        known = ", ".join(config["models"])
        raise UserError(f"config: control is {config['control']!r}, which is no model; choose one of {known}, or null")
    if config["hardware"] == config["hardware"] | {"device": "cpu", "precision": "float16"}:
        raise UserError("config: hardware.precision float16 needs hardware.device cuda; on a cpu use float32")
    return config


def check_schema(raw: Config) -> None:
    """Hold a config against the schema.

    Raises:
        UserError: for the first key that does not fit, in one sentence.
    """
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(raw))
    if error is not None:
        raise UserError(_describe(error))


def _describe(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        near = get_close_matches(str(unknown), known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"config: unknown key {unknown!r} at {place}; {remedy}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"config: key {missing!r} is missing at {place}; the default is in config.yaml"
    wanted = {
        "enum": lambda value: f"it must be one of {', '.join(map(str, value))}",
        "type": lambda value: f"it must be of type {value if isinstance(value, str) else ' or '.join(value)}",
        "minimum": lambda value: f"it must be at least {value}",
        "maximum": lambda value: f"it must be at most {value}",
        "exclusiveMinimum": lambda value: f"it must be more than {value}",
        "exclusiveMaximum": lambda value: f"it must be less than {value}",
        "minItems": lambda value: f"it needs at least {value} entries" if value > 1 else "it must not be empty",
        "minProperties": lambda value: "it must not be empty",
        "uniqueItems": lambda value: "its entries must differ",
        "pattern": lambda value: "use letters, digits, '.', '_' and '-' only, a letter or digit first",
        "anyOf": lambda value: error.schema.get("description", "see schemas/config.schema.yaml"),
    }
    remedy = wanted.get(error.validator, lambda value: error.message)(error.validator_value)
    return f"config: {place} is {error.instance!r}; {remedy}"


def _merge(base: dict, over: dict) -> dict:
    """Return `base` with `over` laid over it, mapping by mapping."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else copy.deepcopy(value)
    return merged


def _fill_in_data_dir(config: Config) -> None:
    """Replace `{data_dir}` in the paths that a config may hold."""

    def fill(key: str, path: str) -> str:
        if "{data_dir}" not in path:
            return path
        if config["data_dir"] is None:
            raise UserError(f"config: {key} is {path!r}, but data_dir is not set; add --config data_dir=FOLDER")
        return path.replace("{data_dir}", config["data_dir"].rstrip("/"))

    for split, paths in (config["corpus"]["files"] or {}).items():
        config["corpus"]["files"][split] = [fill(f"corpus.files.{split}", path) for path in paths]
    for key, split, files in _task_files(config):
        files[split] = fill(key, files[split])
    for name, model in config["models"].items():
        if model["location"] is not None:
            model["location"] = fill(f"models.{name}.location", model["location"])


def _task_files(config: Config) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the key, the split and the mapping that holds it of every file of a task of one's own."""
    for section in ("tasks", "embedding_tasks"):
        for name, task in config[section].items():
            for split in task.get("files", {}):
                yield f"{section}.{name}.files.{split}", split, task["files"]


def _check_model(name: str, model: Config) -> None:
    """Refuse sizes that do not fit together and sources without a place."""
    place = f"config: models.{name}"
    if model["source"] != "pretrain" and model["location"] is None:
        raise UserError(f"{place}.location is null, but source is {model['source']!r}: give its Drive id, URL or path")
    needed = model["num_slots"] + model["segment_length"] + 2
    if model["num_positions"] < needed:
        raise UserError(
            f"{place}.segment_length {model['segment_length']} with num_slots {model['num_slots']} does not fit "
            f"num_positions {model['num_positions']}; set num_positions to {needed} or more"
        )
    if model["embed_dim"] and model["num_heads"] and model["embed_dim"] % model["num_heads"]:
        raise UserError(f"{place}.embed_dim {model['embed_dim']} is not a multiple of num_heads {model['num_heads']}")
    training = model["pretraining"]
    if training["warmup_updates"] >= training["max_updates"]:
        raise UserError(
            f"{place}.pretraining.warmup_updates {training['warmup_updates']} must be less than max_updates "
            f"{training['max_updates']}"
        )
    if training["leave_unmasked_prob"] + training["random_token_prob"] > 1:
        raise UserError(f"{place}.pretraining: leave_unmasked_prob and random_token_prob add up to more than 1")


def _check_start(name: str, tasks: dict[str, Config]) -> None:
    """Refuse a task that starts from the model of one that is not there, or of one that starts elsewhere itself."""
    start, place = tasks[name].get("start_from"), f"config: tasks.{name}.start_from"
    if start is None:
        return
    if start == name or start not in tasks:
        others = ", ".join(task for task in tasks if task != name) or "none"
        raise UserError(f"{place} is {start!r}, which is no other task of this config ({others}); add it, or set null")
    if tasks[start].get("start_from"):
        raise UserError(f"{place} is {start!r}, which itself starts from {tasks[start]['start_from']}; name that one")


def _check_embedding_task(name: str, entry: Config, tasks: dict[str, Config]) -> None:
    """Refuse a second description of the same data."""
    described = [key for key in entry if key != "positive_label"]
    if name in tasks and described:
        raise UserError(
            f"config: embedding_tasks.{name}.{described[0]}: the data of {name} are those of tasks.{name}; say it "
            "there, or give this one another name"
        )


def _check_ablation(factor: str, names: list[str], models: dict[str, Config]) -> None:
    """Refuse a comparison of models that do not differ in the factor, or differ in more than that."""
    place = f"config: ablation.{factor}"
    for name in names:
        if name not in models:
            raise UserError(f"{place} names {name!r}, which is no model; choose from {', '.join(models)}")
        if models[name]["source"] != "pretrain":
            raise UserError(f"{place} names {name}, which is not pre-trained here; choose models that are")
        if models[name][factor] is None:
            raise UserError(f"{place} compares models.{name}.{factor}, which is null; give the number")

    def rest(name: str) -> Config:
        # the position range has to fit slots and segment
        return {key: value for key, value in models[name].items() if key not in (factor, "num_positions")}

    settings: dict[object, str] = {}
    for name in names:
        twin = settings.setdefault(models[name][factor], name)
        if twin != name:
            raise UserError(f"{place}: {twin} and {name} both have {factor} {models[name][factor]}; they must differ")
        other = next((key for key, value in rest(name).items() if value != rest(names[0])[key]), None)
        if other is not None:
            raise UserError(f"{place}: {names[0]} and {name} also differ in {other}; all else must be the same")


def _check_processes(name: str, model: Config, hardware: Config) -> None:
    """Refuse a number of processes that cannot share the batches of an update, or not be spread over the nodes."""
    processes, nodes = hardware["processes"], hardware["nodes"]
    update_freq = model["pretraining"]["update_freq"]
    if model["source"] == "pretrain" and update_freq % processes:
        raise UserError(
            f"config: models.{name}.pretraining.update_freq {update_freq} is no multiple of hardware.processes "
            f"{processes}, which share the batches of an update: raise it to one, and lower batch_size by as much"
        )
    if processes % nodes:
        raise UserError(f"config: hardware.processes {processes} is no multiple of hardware.nodes {nodes}: change one")


def _check_files(config: Config) -> None:
    """Refuse paths that do not lead to what they name."""
    data_dir = config["data_dir"]
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"config: data_dir is {data_dir!r}, which is no folder; correct it or set it to null")
    corpus = config["corpus"]
    if corpus["source"] == "files" and not corpus["files"]:
        raise UserError("config: corpus.source is 'files', but corpus.files is empty; list your files under train")
    paths = [(f"corpus.files.{split}", path) for split, files in (corpus["files"] or {}).items() for path in files]
    paths += [(key, files[split]) for key, split, files in _task_files(config)]
    for name, model in config["models"].items():
        if model["source"] == "path":
            paths.append((f"models.{name}.location", model["location"]))
    for key, path in paths:
        if not Path(path).is_file():
            raise UserError(f"config: {key} is {path!r}, which is no file; correct the path")
