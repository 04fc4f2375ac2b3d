"""The files that a config names: `{data_dir}` and patterns filled in, and what is there checked before any job."""

import os
from collections.abc import Iterator
from typing import Any

from cross_thought.data.definitions import STS
from cross_thought.data.documents import check_corpus, matching_files, none_twice
from cross_thought.data.download import DOWNLOADS_TABLE, read_table
from cross_thought.data.retrieval_tasks import beir_files
from cross_thought.data.starts import check_start
from cross_thought.data.sts_files import gold_file
from cross_thought.data.tasks import task_entries
from cross_thought.errors import UserError, shown
from cross_thought.yaml_text import listed


def fill_in_data_dir(config: dict) -> None:
    """Replace `{data_dir}` in the paths that a config may hold, and patterns by the files that match.

    Raises:
        UserError: if `data_dir` is needed and not set, or a pattern matches nothing.
    """

    def fill(key: str, path: str) -> str:
        if "{data_dir}" not in path:
            return path
        if config["data_dir"] is None:
            raise UserError(f"config: {key} is {shown(path)}, but data_dir is not set; add --config data_dir=FOLDER")
        return path.replace("{data_dir}", config["data_dir"].rstrip("/"))

    for split, paths in (config["corpus"]["files"] or {}).items():
        config["corpus"]["files"][split] = [fill(f"corpus.files.{split}", path) for path in paths]
    for name, entry in config["retrieval_tasks"].items():
        if "folder" in entry:
            place = f"retrieval_tasks.{name}"
            entry |= beir_files(fill(f"{place}.folder", entry.pop("folder")), entry, place=place)
    for key, place, holder in _task_files(config):
        given = holder[place]
        files = (file for path in listed(given) for file in matching_files(fill(key, path), key=key))
        found = none_twice(files)  # a list and a pattern may name the same
        holder[place] = found[0] if isinstance(given, str) and len(found) == 1 else found
    for key, given in _question_files(config):
        given["questions"] = fill(key, given["questions"])
    for name, model in config["models"].items():
        for key in ("location", "initialize_from"):
            if model[key] is not None:
                model[key] = fill(f"models.{name}.{key}", model[key])


def _own_splits(config: dict) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Yield the splits of tasks of one's own: the config's key of the task, the split, what is said of either."""
    for section, entries in task_entries(config).items():
        for name, task in entries.items():
            for split, given in task.get("files", {}).items():
                yield f"{section}.{name}", split, task, given if isinstance(given, dict) else {"path": given}


def _is_looked_for(task: dict[str, Any], said: dict[str, Any]) -> bool:
    """Whether a split is looked for below `data_dir` and in downloads, as those of tasks that ship are."""
    return "folder" in task or "archive" in task or "download" in said


def _task_files(config: dict) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield, of splits, predictions and collections that are given by paths, the config's key, and where they stand."""
    for place, split, task, said in _own_splits(config):
        if not _is_looked_for(task, said):
            key, files = f"{place}.files.{split}", task["files"]
            yield (f"{key}.path", "path", said) if files[split] is said else (key, split, files)
    for name, entry in config["predict"].items():
        yield f"predict.{name}.files", "files", entry
    for name, entry in config["retrieval_tasks"].items():
        if "archive" in entry:  # has them
            continue
        place = f"retrieval_tasks.{name}"
        yield from ((f"{place}.{key}", key, entry) for key in ("queries", "passages") if key in entry)
        of_splits = entry.get("judgements", {})
        yield from ((f"{place}.judgements.{split}", split, of_splits) for split in of_splits)


def _question_files(config: dict) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield, of each split whose questions have a path of their own, the config's key and the split."""
    for place, split, _, said in _own_splits(config):
        if "questions" in said and "download" not in said:
            yield f"{place}.files.{split}.questions", said


def _gold_files(config: dict) -> Iterator[tuple[str, str]]:
    """Yield, of each own file of pairs in the form STS, the config's key and the file of the scores."""
    for place, split, task, said in _own_splits(config):
        if said.get("format", task.get("format")) == STS and not _is_looked_for(task, said):
            yield from ((f"{place}.files.{split}", gold_file(path)) for path in listed(said["path"]))


def _check_looked_for(config: dict) -> None:
    """Refuse what is looked for like the files of tasks that ship, and is neither at hand nor a download."""
    known, data_dir = read_table(DOWNLOADS_TABLE), config["data_dir"]

    def check_name(key: str, name: str | None) -> None:
        if name is not None and name not in known:
            table = f"resources/{DOWNLOADS_TABLE.name}"
            raise UserError(f"config: {key} is {shown(name)}, which is no name in {table}; correct it or add a line")

    for name, entry in config["retrieval_tasks"].items():
        check_name(f"retrieval_tasks.{name}.archive", entry.get("archive"))
    for place, split, task, said in _own_splits(config):
        names = {f"{place}.archive": task.get("archive")}
        names |= {f"{place}.files.{split}.{key}": said.get(key) for key in ("download", "ids")}
        names |= {f"{place}.files.{split}.questions": said.get("questions")} if "download" in said else {}
        for key, download in names.items():
            check_name(key, download)
        key, path = f"{place}.files.{split}", said["path"]
        if "ids" in said and "download" not in said:
            raise UserError(f"config: {key}.ids selects rows of a `download`, and there is none; leave it out")
        if not _is_looked_for(task, said):
            continue
        if not isinstance(path, str):
            raise UserError(
                f"config: {key} is {shown(path)}, but a file of a folder or an archive stands alone: name it"
            )
        if "archive" not in task and "download" not in said:
            if data_dir is None:
                raise UserError(f"config: {place}.folder is below data_dir, which is not set; set it, or give paths")
            if not os.path.isfile(os.path.join(data_dir, task["folder"], path)):
                raise UserError(
                    f"config: {key} is {shown(path)}, which is no file in {task['folder']} below data_dir; correct it"
                )


def _check_predictions(config: dict) -> None:
    """Refuse predictions by a model, on a task or of a seed that the config has not."""
    for name, entry in config["predict"].items():
        for key, known in (("model", config["models"]), ("task", config["tasks"]), ("seed", config["seeds"])):
            if key in entry and entry[key] not in known:
                choice = ", ".join(map(str, known)) or "none"
                place = f"config: predict.{name}.{key} is {shown(entry[key])}"
                raise UserError(f"{place}, which the config has not; choose from {choice}")
        named = [column for column in entry.get("input_columns", ()) if isinstance(column, str)]
        if named and entry.get("header") is False:
            raise UserError(
                f"config: predict.{name} names the column {shown(named[0])} but has `header: false`; give its number"
            )


def check_files(config: dict) -> None:
    """Refuse paths that do not lead to what they name.

    Raises:
        UserError: naming the key, the path and the remedy.
    """
    data_dir = config["data_dir"]
    if data_dir is not None:
        if not os.path.isdir(data_dir):
            raise UserError(f"config: data_dir is {shown(data_dir)}, which is no folder; correct it or set it to null")
        _refuse_braces("data_dir", data_dir)
    corpus = config["corpus"]
    if corpus["source"] == "files" and not corpus["files"]:
        raise UserError("config: corpus.source is 'files', but corpus.files is empty; list your files under train")
    paths = [(f"corpus.files.{split}", path) for split, files in check_corpus(corpus).items() for path in files]
    for key, place, holder in _task_files(config):
        paths += [(key, path) for path in listed(holder[place])]
    paths += [(key, given["questions"]) for key, given in _question_files(config)]
    paths += _gold_files(config)
    for name, model in config["models"].items():
        if model["source"] == "path":
            paths.append((f"models.{name}.location", model["location"]))
        if model["initialize_from"] is not None:
            check_start(name, model)
            _refuse_braces(f"models.{name}.initialize_from", model["initialize_from"])
    _check_looked_for(config)
    _check_predictions(config)
    for key, path in paths:
        if os.path.isdir(path):
            raise UserError(f"config: {key} is {shown(path)}, which is a folder; give a file")
        if not os.path.isfile(path):
            raise UserError(f"config: {key} is {shown(path)}, which is no file; correct the path")
        if not os.access(path, os.R_OK):
            raise UserError(f"config: {key} is {shown(path)}, which you may not read; change its permissions")
        _refuse_braces(key, path)


def _refuse_braces(key: str, path: str) -> None:
    """Refuse a path that Snakemake would read as a pattern."""
    if "{" in path or "}" in path:
        raise UserError(f"config: {key} is {shown(path)}, and braces are Snakemake's signs for wildcards; rename it")
