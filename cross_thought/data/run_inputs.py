"""The raw files of a whole run: what its tasks, corpus, vocabulary, collections and given models are made of.

The workflow fetches by this, and the plan says by it what is still to be fetched. Needs yaml alone.
"""

from collections.abc import Mapping
from typing import Any

from cross_thought.data.captions import with_caption_files
from cross_thought.data.corpus import corpus_files
from cross_thought.data.download import DOWNLOADS_TABLE, read_table
from cross_thought.data.raw_files import own_or_download, raw_files
from cross_thought.data.retrieval_tasks import retrieval_tasks_of
from cross_thought.data.starts import model_downloads
from cross_thought.data.tasks import Task, task_entries, task_from_config

GPT2_FILES = {
    "encoder": "gpt2_bpe/encoder.json",
    "merges": "gpt2_bpe/vocab.bpe",
    "dictionary": "gpt2_bpe/dict.txt",
}


def prepared_tasks(config: Mapping[str, Any]) -> dict[str, Task]:
    """Return every task whose text is prepared, by name; `config` is the effective one."""
    sections = task_entries(config)
    of_task = {name: section for section in reversed(sections) for name in sections[section]}
    return {name: task_from_config(name, sections[section][name], section=section) for name, section in of_task.items()}


def needs_corpus(config: Mapping[str, Any]) -> bool:
    """Whether there is something to learn from the corpus: a model, or the vocabulary."""
    return config["bpe"]["source"] == "train" or any(
        model["source"] == "pretrain" for model in config["models"].values()
    )


def corpus_inputs(config: Mapping[str, Any]) -> list[str]:
    """Return the files that the corpus is made of."""
    files = corpus_files(config["corpus"], data_dir=config["data_dir"])
    return sorted({file.path for split in files.values() for file in split})


def task_inputs(task: Task, config: Mapping[str, Any]) -> list[str]:
    """Return the files that a task is made of."""
    files = raw_files(task, data_dir=config["data_dir"]).values()
    return sorted({path for file in files for path in file.inputs})


def run_inputs(config: Mapping[str, Any]) -> list[str]:
    """Return all raw files of a run, one's own or where downloads go; and those that the demo makes."""
    names = [item.name for item in model_downloads(config["models"], read_table(DOWNLOADS_TABLE))]
    names += GPT2_FILES.values() if config["bpe"]["source"] == "gpt2" else ()
    paths = [own_or_download(name, data_dir=config["data_dir"]) for name in names]
    paths += corpus_inputs(config) if needs_corpus(config) else ()
    for task in prepared_tasks(config).values():
        paths += task_inputs(task, config)
    for collection in retrieval_tasks_of(config).values():
        paths += collection.inputs
    return sorted(set(with_caption_files(paths, data_dir=config["data_dir"])))
