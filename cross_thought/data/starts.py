"""Where a pre-training's first weights are: a model's `initialize_from`, as files at hand or to be fetched.

It is the name of a RoBERTa in `resources/downloads.tsv` (`roberta.base`), the path or URL of a fairseq checkpoint or
of an archive of one, a folder with a RoBERTa of Hugging Face's, or such a one's name on the hub (`OWNER/NAME`,
`OWNER/NAME@REVISION`; where a folder OWNER is here, the latter). Needs the standard library alone, for the workflow
reads it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cross_thought.data.download import DOWNLOADS_TABLE, Download, checkpoint_download, read_table
from cross_thought.data.hub_names import ARCHIVES, hub_name
from cross_thought.data.raw_files import DOWNLOADS_DIR, own_or_download
from cross_thought.errors import UserError, shown

HUGGING_FACE_CONFIG, HUGGING_FACE_WEIGHTS = "config.json", "model.safetensors"
TOKENIZER, VOCABULARY_AND_MERGES = "tokenizer.json", ("vocab.json", "merges.txt")


def model_downloads(models: Mapping[str, Mapping[str, Any]], table: dict[str, Download]) -> list[Download]:
    """Return what is fetched for models of the config: checkpoints that are given, and what trainings start from."""
    found = []
    for model in models.values():
        if model["source"] in ("gdrive", "url"):
            found.append(checkpoint_download(table, source=model["source"], location=model["location"]))
        if model.get("initialize_from"):
            found += start_downloads(model["initialize_from"], table)
    return found


def starts_of(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return model -> its `initialize_from`, of those of the effective config that have one."""
    return {name: model["initialize_from"] for name, model in models.items() if model.get("initialize_from")}


def start_downloads(place: str, table: dict[str, Download]) -> list[Download]:
    """Return what is fetched for an `initialize_from`; nothing where it is at hand."""
    if named := table.get(f"checkpoints/{place}.tar.gz"):
        return [named]
    if place.startswith(("http://", "https://")):
        return [checkpoint_download(table, source="url", location=place)]
    if os.path.exists(place) or not (match := hub_name(place)):
        return []
    if match["revision"] is None and os.path.isdir(place.partition("/")[0]):
        return []  # a path, if a wrong one, for such a folder is here
    hub, revision = os.environ.get("HF_ENDPOINT", "https://huggingface.co"), match["revision"] or "main"
    return [
        Download(name=f"checkpoints/hub/{place}/{file}", url=f"{hub}/{match['name']}/resolve/{revision}/{file}")
        for file in (HUGGING_FACE_CONFIG, HUGGING_FACE_WEIGHTS, TOKENIZER)
    ]


def start_files(place: str, *, data_dir: str | None, downloads_dir: str = DOWNLOADS_DIR) -> list[str]:
    """Return the files that an `initialize_from` stands for, one's own or where their downloads go.

    Returns:
        An archive; or a checkpoint, with the dict.txt beside it if there is one; or what makes up a folder of Hugging
        Face's.
    """
    if downloads := start_downloads(place, read_table(DOWNLOADS_TABLE)):
        return [own_or_download(item.name, data_dir=data_dir, downloads_dir=downloads_dir) for item in downloads]
    if os.path.isdir(place):
        names = (TOKENIZER,) if Path(place, TOKENIZER).is_file() else VOCABULARY_AND_MERGES
        return [os.path.join(place, name) for name in (HUGGING_FACE_CONFIG, HUGGING_FACE_WEIGHTS, *names)]
    beside = Path(place).with_name("dict.txt")
    return [place, str(beside)] if beside.is_file() and not place.endswith(ARCHIVES) else [place]


def start_name(place: str) -> str:
    """Return what a start is called where a model is described: a download as it was given, a path by its last part."""
    if start_downloads(place, read_table(DOWNLOADS_TABLE)):
        return place
    return os.path.basename(os.path.abspath(place))


def as_trained(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's settings as they define its training.

    The place of a start is left out, for its files count by their content (`start_files`): moved, they are the same
    start. Without a start, `cross_layers` says nothing, nor does a `patience` of null.
    """
    unused = ("initialize_from",) if model["initialize_from"] else ("initialize_from", "cross_layers")
    settings = {key: value for key, value in model.items() if key not in unused}
    training = settings.get("pretraining", {})
    if "patience" in training and training["patience"] is None:
        settings["pretraining"] = {key: value for key, value in training.items() if key != "patience"}
    return settings


def check_start(name: str, model: Mapping[str, Any]) -> None:
    """Refuse a model's `initialize_from` that leads nowhere: a UserError names the key, its value and the remedy."""
    place, key = model["initialize_from"], f"config: models.{name}.initialize_from"
    if model["source"] != "pretrain":
        raise UserError(
            f"{key} is {shown(place)}, but source is {model['source']!r}, so nothing is pre-trained: leave one "
            "of them out"
        )
    if start_downloads(place, read_table(DOWNLOADS_TABLE)):
        return
    if not os.path.exists(place):
        named = ", ".join(
            item.removeprefix("checkpoints/").removesuffix(".tar.gz")
            for item in read_table(DOWNLOADS_TABLE)
            if item.endswith(".tar.gz")
        )
        raise UserError(
            f"{key} is {shown(place)}, which is no file, no folder, no URL, no name on Hugging Face's hub (OWNER/NAME) "
            f"and not {named}; correct it"
        )
    for file in start_files(place, data_dir=None):
        if not os.path.isfile(file):
            raise UserError(
                f"{key} is {shown(place)}, which has no {os.path.basename(file)}; give the folder of a RoBERTa that "
                "Hugging Face's library saved, or a fairseq checkpoint"
            )
        if not os.access(file, os.R_OK):
            raise UserError(f"{key}: {shown(file)} may not be read; change its permissions")
