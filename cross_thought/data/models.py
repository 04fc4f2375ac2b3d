"""What a config says of its models, checked before any job starts."""

from collections.abc import Mapping, Sequence
from typing import Any

from cross_thought.data.tasks import setting_of
from cross_thought.errors import UserError, shown


def check_model(
    name: str, model: Mapping[str, Any], *, defaults: Mapping[str, Any], hardware: Mapping[str, Any]
) -> None:
    """Refuse what does not fit together in a model, and what is said of it to no effect.

    Args:
        name: of the model.
        model: its entry of the effective config.
        defaults: what models inherit, which need not concern each of them.
        hardware: that entry of the effective config.

    Raises:
        UserError: naming the key, its value and the remedy.
    """
    place = f"config: models.{name}"
    if model["source"] != "pretrain" and model["location"] is None:
        raise UserError(f"{place}.location is null, but source is {model['source']!r}: give its Drive id, URL or path")
    if model["source"] == "pretrain" and model["location"] is not None:
        raise UserError(
            f"{place}.location is {shown(model['location'])}, but source is 'pretrain', so the model is trained here: "
            "set source to path, url or gdrive, or location to null; to train on from a checkpoint, set initialize_from"
        )
    if model["source"] != "pretrain" and model["pretraining"] != defaults["pretraining"]:
        raise UserError(
            f"{place}.pretraining is not that of model_defaults, but source is {model['source']!r}, so nothing is "
            "pre-trained: leave it out"
        )
    if model["cross_layers"] != defaults["cross_layers"] and model["initialize_from"] is None:
        raise UserError(
            f"{place}.cross_layers is {model['cross_layers']!r}, and is of a start from a RoBERTa: set "
            "initialize_from, or leave it out"
        )
    needed = model["num_slots"] + model["segment_length"] + 2
    if model["num_positions"] < needed:
        raise UserError(
            f"{place}.segment_length {model['segment_length']} with num_slots {model['num_slots']} does not fit "
            f"num_positions {model['num_positions']}; set num_positions to {needed} or more"
        )
    if model["embed_dim"] and model["num_heads"] and model["embed_dim"] % model["num_heads"]:
        raise UserError(f"{place}.embed_dim {model['embed_dim']} is not a multiple of num_heads {model['num_heads']}")
    training = model["pretraining"]
    is_crossed = model["source"] == "pretrain" and model["cross_sequence"]
    is_cut_by_length = model["segment_by"] == "tokens"
    if is_crossed and is_cut_by_length and training["tokens_per_sample"] <= model["segment_length"]:
        raise UserError(
            f"{place}.pretraining.tokens_per_sample {training['tokens_per_sample']} is no more than segment_length "
            f"{model['segment_length']}, so a stream is one segment, and cross layer 0 has nothing to look at: raise it"
        )
    if training["warmup_updates"] >= training["max_updates"]:
        raise UserError(
            f"{place}.pretraining.warmup_updates {training['warmup_updates']} must be less than max_updates "
            f"{training['max_updates']}"
        )
    if training.get("patience") and "--disable-validation" in training["extra_args"]:
        raise UserError(
            f"{place}.pretraining.patience {training['patience']} counts validations, but extra_args has "
            "--disable-validation: leave one of them out"
        )
    if training["leave_unmasked_prob"] + training["random_token_prob"] > 1:
        raise UserError(f"{place}.pretraining: leave_unmasked_prob and random_token_prob add up to more than 1")
    _check_processes(name, model, hardware)


def _check_processes(name: str, model: Mapping[str, Any], hardware: Mapping[str, Any]) -> None:
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


def check_ablation(factor: str, names: Sequence[str], models: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a comparison of models that do not differ in the factor, or differ in more than that."""
    place = f"config: ablation.{factor}"
    for name in names:
        if name not in models:
            raise UserError(f"{place} names {shown(name)}, which is no model; choose from {', '.join(models)}")
        if models[name]["source"] != "pretrain":
            raise UserError(f"{place} names {name}, which is not pre-trained here; choose models that are")
        if setting_of(models[name], factor) is None:
            raise UserError(f"{place} compares models.{name}.{factor}, which is null; give the number")

    def rest(name: str) -> dict[str, Any]:
        # the position range has to fit slots and segment
        training = {f"pretraining.{key}": value for key, value in models[name]["pretraining"].items()}
        own = (factor, f"pretraining.{factor}", "num_positions", "pretraining")
        return {key: value for key, value in {**models[name], **training}.items() if key not in own}

    settings: dict[object, str] = {}
    for name in names:
        setting = setting_of(models[name], factor)
        twin = settings.setdefault(setting, name)
        if twin != name:
            raise UserError(f"{place}: {twin} and {name} both have {factor} {setting}; they must differ")
        other = next((key for key, value in rest(name).items() if value != rest(names[0])[key]), None)
        if other is not None:
            raise UserError(f"{place}: {names[0]} and {name} also differ in {other}; all else must be the same")
