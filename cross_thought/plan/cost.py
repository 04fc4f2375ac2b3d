"""What the stages of a run cost: trainings, disk, memory a process; each with what had to be assumed."""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cross_thought.data.captions import with_caption_files
from cross_thought.data.demo import SEGMENT_LENGTH, SENTENCES_PER_DOCUMENT, TASK_SIZES
from cross_thought.data.download import DOWNLOADS_TABLE, read_table
from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.pairs import data_of_pairs, pair_tasks_of
from cross_thought.data.question_files import HOTPOTQA, QUASAR_T
from cross_thought.data.raw_files import DOWNLOADS_DIR, raw_files
from cross_thought.data.run_inputs import corpus_inputs, needs_corpus, run_inputs
from cross_thought.data.starts import model_downloads
from cross_thought.data.sweeps import Setting, grids_of, kept_tasks, setting_name, shown_setting
from cross_thought.data.tasks import Task, generator, tasks_of
from cross_thought.files import count_lines
from cross_thought.plan.devices import Device
from cross_thought.plan.work import BACKWARD, ModelSizes

GPT2_SYMBOLS = 50260
BYTES_A_WORD = 4.4  # GPT-2's BPE on WikiText-2's held-out texts, measured: 4.3 and 4.4; on RTE and MRPC 4.5 and 4.4
WORDS_A_SENTENCE = 36  # the longest of RTE (35.6), MRPC (27.0) and SST-2 (14.4), measured, `<s>` and `</s>` included
CANDIDATES = 9  # of a question, where data say how many: WikiQA's dev set, 1,130 rows of 126 questions
HOTPOTQA_BYTES = 8100  # of a question: 100 of its train set, measured
WIKITEXT_RATIO = 2.9  # text in its zip archives: their dataset card, 549.4 MB from 192.0 MB
WORDS_OF_CAPTIONS = 88  # of a picture, by a vocabulary of 2,000 learnt from them, measured: 87.4
CAPTION_PAIRS = 4 * 29_000  # of a picture's first caption with its others
CAPTIONS_RATIO = 3.2  # text in the captions' gzip files, measured
LINE_BYTES = 120  # of a corpus: one entry of the index each
GPU_UPDATES_A_SECOND = 8.0  # small batches are no faster: run_glue does MNLI's three epochs in 1:17 h on a Titan RTX
_PARQUET_ROW_BYTES = 60
_HEAD_BYTES = 1 << 20  # of a file that gzip has packed, from which what is in all of it is told
_INDEX_BYTES = 12  # of each line: its size and its place


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training, or several alike.

    Attributes:
        stage: "pre-training", "fine-tuning" or "tuning embeddings".
        name: model, or task of any of them, with what of a sweep's settings makes its costs differ.
        count: how many there are.
        updates: of one.
        words: of one: those that go through the encoder, repeats included.
        flops: of one, forward and backward.
    """

    stage: str
    name: str
    count: int
    updates: int
    words: float
    flops: float

    def hours(self, device: Device, *, precision: str, share: float, processes: int) -> float:
        """Return the hours that one takes at a share of the rate of each process's device."""
        seconds = self.flops / (share * device.tflops[precision] * 1e12 * processes)
        if device.is_gpu:
            seconds = max(seconds, self.updates / GPU_UPDATES_A_SECOND)
        return seconds / 3600


def symbols(config: Mapping[str, Any]) -> int:
    """Return the BPE's symbols, at most."""
    return GPT2_SYMBOLS if config["bpe"]["source"] == "gpt2" else config["bpe"]["vocab_size"]


def sizes_of(config: Mapping[str, Any]) -> dict[str, ModelSizes]:
    """Return the sizes of each model."""
    return {name: ModelSizes.of_model(model, symbols=symbols(config)) for name, model in config["models"].items()}


def pretrainings(config: Mapping[str, Any]) -> list[Training]:
    """Return the pre-trainings, those of one model together. Streams count as full."""
    count = len(config["seeds"]) if config["pretraining_seed"] == "each" else 1
    found = []
    for name, sizes in sizes_of(config).items():
        training = config["models"][name]["pretraining"]
        if config["models"][name]["source"] != "pretrain":
            continue
        length, updates = training["tokens_per_sample"], training["max_updates"]
        if config["corpus"]["source"] == "captions" and training["sample_break_mode"] == "complete_doc":
            length = min(length, WORDS_OF_CAPTIONS)
        streams = updates * training["batch_size"] * training["update_freq"]
        forward = streams * sizes.stream_flops(length, scored=training["mask_prob"])
        found.append(
            Training(
                stage="pre-training",
                name=name,
                count=count,
                updates=updates,
                words=streams * length,
                flops=(1 + BACKWARD) * forward,
            )
        )
    return found


def finetunings(config: Mapping[str, Any]) -> list[Training]:
    """Return the fine-tunings, those of one task together: of all models and seeds, and settings that cost the same."""
    found = []
    for task, setting, num_settings in _costly_settings(config):
        settings = finetuning_settings(task, config["finetuning"], {**config["tasks"][task.name], **setting})
        given = {**config["finetuning"], **config["tasks"][task.name]}
        # what is given shapes the schedule alone: fine-tuning ends with its epochs
        published = None if "num_updates" in given else settings["num_updates"]
        updates = published or settings["num_epochs"] * math.ceil(num_examples(task, config) / settings["batch_size"])
        sentence = SEGMENT_LENGTH + 1 if generator(task) == "demo" else WORDS_A_SENTENCE
        found.append(
            _on_sentences(
                config,
                stage="fine-tuning",
                name=f"{task.name}, {shown_setting(setting_name(setting))}" if setting else task.name,
                num_settings=num_settings,
                updates=updates,
                batch_size=settings["batch_size"],
                lengths=[sentence] * (task.num_sentences or 1 + CANDIDATES),
                num_classes=len(task.labels or (1,)),
            )
        )
    return found


def tunings(config: Mapping[str, Any]) -> list[Training]:
    """Return how embeddings are tuned, all models and seeds on one task's pairs together.

    As many of a task's examples count as pairs as would if all labels were equally frequent.
    """
    found, settings = [], config["embedding_tuning"]
    for name, pairs in pair_tasks_of(config).items():
        task = data_of_pairs(name, config)
        num_pairs = num_examples(task, config) // len(task.labels or (1,))
        found.append(
            _on_sentences(
                config,
                stage="tuning embeddings",
                name=name,
                num_settings=1,
                updates=math.ceil(settings["num_epochs"] * math.ceil(num_pairs / settings["batch_size"])),
                batch_size=settings["batch_size"],
                lengths=[WORDS_A_SENTENCE] * (2 if pairs.negative_label is None else 3),
                num_classes=1,
            )
        )
    return found


def _on_sentences(
    config: Mapping[str, Any],
    *,
    stage: str,
    name: str,
    num_settings: int,
    updates: int,
    batch_size: int,
    lengths: Sequence[int],
    num_classes: int,
) -> Training:
    """Return the trainings of all models and seeds on examples of sentences so long; one costs their mean."""
    all_sizes = sizes_of(config).values()
    examples = updates * batch_size
    forward = sum(sizes.sentences_flops(lengths, num_classes=num_classes) for sizes in all_sizes) / len(all_sizes)
    return Training(
        stage=stage,
        name=name,
        count=len(all_sizes) * len(config["seeds"]) * num_settings,
        updates=updates,
        words=examples * sum(lengths),
        flops=(1 + BACKWARD) * examples * forward,
    )


def _costly_settings(config: Mapping[str, Any]) -> Iterator[tuple[Task, Setting, int]]:
    """Yield the tasks that are fine-tuned, each with what of its settings costs are made of, and how many have that."""
    tasks = tasks_of(config["tasks"])
    grids = grids_of(tasks, config)
    for name, task in tasks.items():
        if "train" not in task.splits:  # evaluated with another task's model
            continue
        settings = grids.get(name, {"": {}}).values()
        costly: list[Setting] = [
            {key: setting[key] for key in ("batch_size", "num_epochs") if key in setting} for setting in settings
        ]
        for number, setting in enumerate(costly):
            if setting not in costly[:number]:
                yield task, setting, costly.count(setting)


def num_examples(task: Task, config: Mapping[str, Any]) -> int:
    """Return the training examples of a task: as published or generated, or as many as its file has lines.

    0 where that is not known, of a file that is not there yet, or lies in an archive.
    """
    split = task.splits["train"]
    if generator(task) == "demo":
        count = TASK_SIZES[task.name]["train"]
    elif task.name == "captions-find":
        count = CAPTION_PAIRS
    elif split.expected_rows is not None:
        count = split.expected_rows
    else:
        file = raw_files(task, data_dir=config["data_dir"])["train"]
        paths = [file.questions_path] if file.questions_path else [] if file.member else file.paths
        count = sum(_rows(Path(path), header=split.header, form=split.format) for path in paths)
        if not task.num_sentences and split.format not in (HOTPOTQA, QUASAR_T):  # a row is a candidate
            count //= CANDIDATES
    return min(count, config["tasks"].get(task.name, {}).get("max_train_examples") or count)


def _rows(path: Path, *, header: bool, form: str | None) -> int:
    """Return the rows of an own file: its lines; where they cannot be counted at once, a rough figure."""
    if not path.is_file():
        return 0
    if form == HOTPOTQA:
        return path.stat().st_size // HOTPOTQA_BYTES
    if path.suffix == ".parquet":
        return path.stat().st_size // _PARQUET_ROW_BYTES
    if path.suffix == ".gz":
        text, share = _head(path)
        return max(0, round(text.count(b"\n") / share) - header)
    return count_lines(path) - header


def _head(path: Path) -> tuple[bytes, float]:
    """Return the first of a file's text, unpacked if gzip has packed it, and which part of the file that is."""
    with path.open("rb") as file:
        head = left = file.read(_HEAD_BYTES)
    text = b""
    try:
        while left:  # gzip's files may be put one after the other
            unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            text += unpacker.decompress(left)
            left = unpacker.unused_data
    except zlib.error:  # plain
        text = head
    return text, len(head) / path.stat().st_size if head else 1.0


def corpus_bytes(config: Mapping[str, Any]) -> float:
    """Return the bytes of the corpus's text."""
    if config["corpus"]["source"] == "demo":
        return corpus_words(config) * 5.2  # of its sentences, measured: 9 MB in 20,000 documents
    sizes = {download.name: download.num_bytes or 0 for download in read_table(DOWNLOADS_TABLE).values()}
    total = 0.0
    for path in set(with_caption_files(corpus_inputs(config), data_dir=config["data_dir"])):
        if not Path(path).is_file():
            size = sizes[path.removeprefix(f"{DOWNLOADS_DIR}/")]
            is_captions = config["corpus"]["source"] == "captions"
            total += size * (WIKITEXT_RATIO if path.endswith(".zip") else CAPTIONS_RATIO if is_captions else 1)
        elif path.endswith(".zip"):
            total += Path(path).stat().st_size * WIKITEXT_RATIO
        else:
            text, share = _head(Path(path))
            total += len(text) / share
    return total


def corpus_words(config: Mapping[str, Any]) -> float:
    """Return the words of the corpus."""
    if config["corpus"]["source"] == "demo":
        return config["corpus"]["demo_documents"] * SENTENCES_PER_DOCUMENT * SEGMENT_LENGTH
    return corpus_bytes(config) / BYTES_A_WORD


def downloads(config: Mapping[str, Any]) -> dict[str, int | None]:
    """Return what is still to be fetched, with sizes in bytes; None where none was published."""
    table = read_table(DOWNLOADS_TABLE)
    table |= {item.name: item for item in model_downloads(config["models"], table)}
    names = (path.removeprefix(f"{DOWNLOADS_DIR}/") for path in run_inputs(config) if not Path(path).is_file())
    return {name: table[name].num_bytes for name in names if name in table}


def disk(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the bytes that the run leaves or needs at its peak, by kind."""
    id_bytes = 2 if symbols(config) < 1 << 16 else 4
    trained = {name for name, model in config["models"].items() if model["source"] == "pretrain"}
    runs = {run.name: run.count for run in pretrainings(config)}
    text, words = (corpus_bytes(config), corpus_words(config)) if needs_corpus(config) else (0, 0)
    parameters = {name: sizes.num_parameters for name, sizes in sizes_of(config).items()}
    weights = 2 if config["hardware"]["precision"] == "float16" else 4
    started = {name: 4 if config["models"][name]["initialize_from"] else 0 for name in trained}
    training = sum(runs[name] * parameters[name] * (3 * 12 + weights + started[name]) for name in trained)
    return {
        "downloads": sum(size or 0 for size in downloads(config).values()),
        "corpus": text,
        "BPE ids": words * id_bytes,
        "binarized": words * id_bytes + text / LINE_BYTES * _INDEX_BYTES,
        "checkpoints": training + max(parameters.values()) * (2 * weights if config["tasks"] else 0),
        "sweeps": _runs_held(config) * sum(parameters.values()) * weights,
    }


def _runs_held(config: Mapping[str, Any]) -> int:
    """Return a model's runs whose checkpoints wait until a setting is chosen: in sweeps whose chosen one is kept."""
    tasks = tasks_of(config["tasks"])
    grids = grids_of(tasks, config)
    return sum(len(grids.get(name, ())) for name in kept_tasks(tasks, config)) * len(config["seeds"])


def jobs(config: Mapping[str, Any]) -> dict[str, int]:
    """Return how many jobs the long stages have; every setting of a sweep is evaluated."""
    grids = grids_of(tasks_of(config["tasks"]), config)
    num_evaluated = sum(len(grids.get(name, [None])) for name in config["tasks"])
    return {
        "pre-training": sum(training.count for training in pretrainings(config)),
        "fine-tuning": sum(training.count for training in finetunings(config)),
        "tuning embeddings": sum(training.count for training in tunings(config)),
        "evaluation": len(config["models"]) * num_evaluated * len(config["seeds"]),
    }


def memory(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the bytes that a process of each model's pre-training needs for a step on full streams."""
    hardware, found = config["hardware"], {}
    for name, sizes in sizes_of(config).items():
        training = config["models"][name]["pretraining"]
        if config["models"][name]["source"] == "pretrain":
            found[name] = sizes.step_bytes(
                training["tokens_per_sample"],
                streams=training["batch_size"],
                recompute=hardware["checkpoint_activations"],
                scored=training["mask_prob"],
                precision=hardware["precision"],
                on_gpu=hardware["device"] == "cuda",
            )
    return found


def assumptions(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the figures take for granted, a sentence each."""
    yield "a backward pass costs two forwards"
    if config["hardware"]["device"] == "cuda":
        yield f"a GPU does at most {GPU_UPDATES_A_SECOND:.0f} updates a second"
    if config["corpus"]["source"] != "demo" and pretrainings(config):
        yield f"{BYTES_A_WORD} bytes of text a word; lines of {LINE_BYTES} bytes"
    if any(generator(task) != "demo" for task in tasks_of(config["tasks"]).values()):
        yield f"sentences of {WORDS_A_SENTENCE} words in fine-tuning"
    unsized = [task for task in tasks_of(config["tasks"]).values() if task.selection and not task.num_sentences]
    if unsized:
        yield f"{CANDIDATES} candidates a question where the data say how many"
    paired = [data_of_pairs(name, config) for name in config["embedding_tuning"]["pairs"]]
    if paired:
        yield "labels equally frequent in what embeddings are tuned on"
    if lacking := [task.name for task in unsized + paired if "train" in task.splits and not num_examples(task, config)]:
        yield f"training data of a size not known, counted as nothing: {', '.join(lacking)}"
    if pretrainings(config):
        yield "full streams; memory beside that of Python and PyTorch themselves"
    trainings = [model["pretraining"] for model in config["models"].values()]
    if any(settings.get("patience") for settings in (*trainings, config["finetuning"], *config["tasks"].values())):
        yield "no training ends early, by patience"
    if any(path.suffix == ".parquet" for path in _own_training_files(config)):
        yield f"rows of {_PARQUET_ROW_BYTES} bytes in Parquet"
    if any(path.endswith(".gz") and Path(path).is_file() for path in run_inputs(config)):
        yield "what is in a gzip file, by its first megabyte"
    unknown = [name for name, size in downloads(config).items() if size is None]
    if unknown:
        yield f"size not published, counted as nothing: {', '.join(unknown)}"
    yield "not counted: validation, evaluation, embeddings, data preparation, waiting"


def _own_training_files(config: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the training files whose rows nobody has published."""
    for task in tasks_of(config["tasks"]).values():
        if "train" in task.splits and task.splits["train"].expected_rows is None and generator(task) is None:
            file = raw_files(task, data_dir=config["data_dir"])["train"]
            yield from map(Path, file.paths)
