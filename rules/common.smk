"""Targets and helpers that several stages share. In: the config. Out: its checked form, lists of paths."""

import os
import shlex
import sys

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

# not `workflow.basedir`: that is the importer's, where this is a module of another workflow
REPOSITORY = str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).resolve().parent)
if not os.path.isdir(os.path.join(REPOSITORY, "cross_thought")):
    raise WorkflowError("the package is not beside this Snakefile: clone the whole repository, and name its Snakefile")
sys.path.insert(0, REPOSITORY)

from cross_thought.config import load_config
from cross_thought.errors import UserError
from cross_thought.files import check_writable
from cross_thought.jobs import import_from
from cross_thought.sources import code_hash, fingerprint
from cross_thought.data.captions import SPLITS as CAPTION_SPLITS
from cross_thought.data.captions import caption_files, with_caption_files
from cross_thought.data.corpus import corpus_files
from cross_thought.data.demo import SEGMENT_LENGTH as DEMO_SEGMENT_LENGTH
from cross_thought.data.download import DOWNLOADS_TABLE, checkpoint_download, read_table
from cross_thought.data.pairs import SECTION as PAIRS_SECTION, pair_tasks_of, shown_name, tuned_place
from cross_thought.data.raw_files import missing_files, own_or_download, raw_files
from cross_thought.data.retrieval_tasks import retrieval_tasks_of
from cross_thought.data.starts import as_trained, model_downloads, start_files, start_name, starts_of
from cross_thought.data.sweeps import grids_of, without_lists
from cross_thought.data.tasks import DATA_KEYS, REGISTRY, embedding_tasks_of
from cross_thought.data.tasks import poolings_of, task_from_config, tasks_of

# Snakemake writes the path of its Python into the scripts' shell commands as it is, whatever characters are in it
if os.path.exists(sys.executable):  # not yet quoted: a module is read again at each `use rule`
    sys.executable = shlex.quote(sys.executable)

try:
    import_from(REPOSITORY)
    check_writable(Path.cwd(), Path("results"))
    config = load_config(
        config,
        files=map(Path, workflow.configfiles),
        command_line=workflow.config_settings.config,
    )
    TASKS = tasks_of(config["tasks"])
    EMBEDDING_TASKS = embedding_tasks_of(config)
    POOLINGS = poolings_of(config)
    PAIR_TASKS = pair_tasks_of(config)
    RETRIEVAL_TASKS = retrieval_tasks_of(config)
    SWEEPS = grids_of(TASKS, config)  # task -> setting's name -> setting
except UserError as error:
    raise WorkflowError(str(error)) from None

# every task whose text is prepared, as the first of these keys of the config that has it says
DATA_ENTRIES = {
    "tasks": config["tasks"],
    "embedding_tasks": config["embedding_tasks"],
    PAIRS_SECTION: config["embedding_tuning"]["pairs"],
}
PREPARED_TASKS = {
    name: task_from_config(name, entry, section=section)
    for section, entries in reversed(DATA_ENTRIES.items())
    for name, entry in entries.items()
} | TASKS
MODELS = {name: as_trained(model) for name, model in config["models"].items()}
SEEDS = config["seeds"]
TUNING = {key: value for key, value in config["embedding_tuning"].items() if key != "pairs"}
# each model tuned on each task, by the name that paths have for it
TUNED_MODELS = {tuned_place(model, task): (model, task) for task in PAIR_TASKS for model in MODELS}
ENCODERS = [*MODELS, *TUNED_MODELS]
TRAINED_MODELS = [name for name, model in MODELS.items() if model["source"] == "pretrain"]
PRETRAINING_SEEDS = SEEDS if config["pretraining_seed"] == "each" else [config["pretraining_seed"]]


# raw files
DATA_DIR = config["data_dir"]
DOWNLOADS_DIR = "results/downloads"
DEMO_DIR = f"{DOWNLOADS_DIR}/demo"
DEMO_TASKS = ["demo-match", "demo-overlap", "demo-job", "demo-answer"]
CAPTIONS_DIR = f"{DOWNLOADS_DIR}/captions"
CAPTION_TASKS = ["captions-same", "captions-pick", "captions-find"]
KNOWN_DOWNLOADS = read_table(DOWNLOADS_TABLE)
MODEL_DOWNLOADS = model_downloads(config["models"], KNOWN_DOWNLOADS)
DOWNLOADS = KNOWN_DOWNLOADS | {item.name: item for item in MODEL_DOWNLOADS}
GPT2_FILES = {
    "encoder": "gpt2_bpe/encoder.json",
    "merges": "gpt2_bpe/vocab.bpe",
    "dictionary": "gpt2_bpe/dict.txt",
}


def alternatives(names):
    """Return a wildcard constraint that allows just these names."""
    return "|".join(re.escape(str(name)) for name in names) or "none"


wildcard_constraints:
    model=alternatives(ENCODERS),
    task=alternatives(PREPARED_TASKS),
    collection=alternatives(RETRIEVAL_TASKS),
    pooling=alternatives(POOLINGS),
    setting=alternatives({name: None for settings in SWEEPS.values() for name in settings}),
    seed=r"\d+",


def own_or_download_path(name):
    """Return the path of a file in the table of downloads: one's own, or where the download goes."""
    return own_or_download(name, data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR)


def given_checkpoint(model):
    """Return the checkpoint of a model that is not trained here."""
    if model["source"] == "path":
        return model["location"]
    item = checkpoint_download(KNOWN_DOWNLOADS, source=model["source"], location=model["location"])
    path = own_or_download_path(item.name)
    return f"{DOWNLOADS_DIR}/{item.name.removesuffix('.tar.gz')}/model.pt" if path.endswith(".tar.gz") else path


def raw_inputs(paths):
    """Return files, those that the captions' files are made into replaced by these."""
    return with_caption_files(paths, data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR)


def corpus_inputs():
    """Return the files that the corpus is made of."""
    files = corpus_files(config["corpus"], data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR)
    return sorted({file.path for split in files.values() for file in split})


def task_inputs(task):
    """Return the files that a task is made of."""
    files = raw_files(PREPARED_TASKS[task], data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR).values()
    return sorted({path for file in files for path in file.inputs})


# What is downloaded though some of it is at hand: most likely a file lies elsewhere, or has another name.
if workflow.is_main_process:
    for name, task in PREPARED_TASKS.items():
        for file in missing_files(task, data_dir=DATA_DIR):
            logger.warning(
                f"{name}: {file} is not in data_dir {DATA_DIR}, so {', '.join(task.downloads)} must be fetched"
            )
    fetched = [path for path in raw_inputs(corpus_inputs()) if path.startswith(f"{DOWNLOADS_DIR}/multi30k/")]
    if DATA_DIR is not None and os.path.isdir(os.path.join(DATA_DIR, "multi30k")) and fetched:
        lacking = ", ".join(path.removeprefix(f"{DOWNLOADS_DIR}/") for path in fetched)
        logger.warning(f"captions: {lacking} not in data_dir {DATA_DIR}, must be fetched")


# What a job depends on besides its inputs. Snakemake plans it anew when its `params` change; neither the time stamps of
# scripts nor the environment is among its triggers (profiles/default).
#
# What prepares data, or computes a metric or a table, has its code among its `params`: `code_of`. What is paid for with
# days has not: to fetch, to train, and to predict with a fine-tuned model, which is gone thereafter. Nor is training
# done anew because its data were, by other code: they are `ancient` to it, and what it goes by is a file of settings,
# what the data are made of among them (`training_data`). A file, for Snakemake does not look at the `params` of a job
# behind a planned one, be that `ancient`. `score_task` refuses predictions that are not for the data that there are.


def code_of(script, environment):
    """Return a hash of a script's code, wherever it stands, and of the environment file that it runs in."""
    place = Path(REPOSITORY)
    return code_hash(place / "workflow_scripts" / script, place / "envs" / Path(environment).name)


def training_data(files, **settings):
    """Return what the data of a training are made of: settings, and raw files, those of one's own by their content.

    A download is known by its name. One of the table has a checksum; what a model names by a URL, or on the hub, has none:
    if the content changes there, give it another name (OWNER/NAME@REVISION).
    """
    vocabulary = (
        corpus_inputs() if config["bpe"]["source"] == "train" else map(own_or_download_path, GPT2_FILES.values())
    )
    return settings | {
        "files": [
            path if path.startswith(f"{DOWNLOADS_DIR}/") else fingerprint(Path(path))
            for path in raw_inputs([*files, *vocabulary])
        ],
        "corpus": {key: value for key, value in config["corpus"].items() if key != "files"},
        "bpe": config["bpe"],
        "max_sentence_tokens": MAX_SENTENCE_TOKENS,
    }


def ancient_once(result, path):
    """Return an input that is `ancient` once a job's result is there: other code's data do not do the job anew.

    Not before: of a job behind a planned one, all of whose planned inputs are `ancient`, Snakemake does not see that its
    outputs are missing.
    """

    def data(wildcards):
        found = path.format(**wildcards)
        return ancient(found) if os.path.exists(result.format(**wildcards)) else found

    return data


def all_downloads():
    """Return every file that this config makes us fetch."""
    needed = [own_or_download_path(item.name) for item in MODEL_DOWNLOADS]
    if TRAINED_MODELS or config["bpe"]["source"] == "train":
        needed += corpus_inputs()
    if config["bpe"]["source"] == "gpt2":
        needed += [own_or_download_path(name) for name in GPT2_FILES.values()]
    for task in PREPARED_TASKS:
        needed += task_inputs(task)
    for collection in RETRIEVAL_TASKS.values():
        needed += collection.inputs
    fetched = {path for path in raw_inputs(needed) if path.startswith(f"{DOWNLOADS_DIR}/")}
    return sorted(path for path in fetched if not path.startswith(DEMO_DIR))


# A task that is evaluated with another one's model has none of its own; one with a sweep has several.
TUNED_TASKS = [name for name, task in TASKS.items() if task.evaluated_with is None and name not in SWEEPS]
# A checkpoint is deleted once it is evaluated, unless the config keeps it, or another task or a prediction needs it. That
# of a sweep's chosen setting is kept for tasks that are evaluated with it, too: to have it again, the whole sweep runs.
STARTS = {task.start_from for task in TASKS.values()} - {None}
ANSWERING = {TASKS[entry["task"]].evaluated_with or entry["task"] for entry in config["predict"].values()}
ANSWERING |= {task.evaluated_with for task in TASKS.values()} & set(SWEEPS)
KEPT_TASKS = [
    task
    for task, entry in config["tasks"].items()
    if task in STARTS | ANSWERING or entry.get("keep_checkpoints", config["finetuning"]["keep_checkpoints"])
]


def without_keeping(settings):
    """Return settings of a fine-tuning but for `keep_checkpoints`: changed, it is the same fine-tuning."""
    return {key: value for key, value in settings.items() if key != "keep_checkpoints"}


# what all trainings have of it: where it has lists, a setting or a task's own entry says which value
FINETUNING = without_keeping(without_lists(config["finetuning"]))


def finetuning_entry(task):
    """Return what a task's entry of the config says of its fine-tuning."""
    return without_keeping(config["tasks"][task])


def data_section(task):
    """Return the key of the config under which a task's data are described."""
    return next(section for section, entries in DATA_ENTRIES.items() if task in entries)


def data_entry(task):
    """Return what of a task's config its data depend on: a changed learning rate prepares nothing anew."""
    return {key: value for key, value in DATA_ENTRIES[data_section(task)][task].items() if key in DATA_KEYS}


def shipped_data(task):
    """Return what resources/tasks.yaml says of a task's data: changed there, it is prepared anew."""
    return {key: value for key, value in REGISTRY.get(task, {}).items() if key in DATA_KEYS}


def pretrained_checkpoint(model, seed):
    """Return the checkpoint that a fine-tuning with a seed starts from."""
    if MODELS[model]["source"] == "pretrain":
        run = seed if config["pretraining_seed"] == "each" else config["pretraining_seed"]
        return f"results/pretrain/{model}/seed-{run}/model.pt"
    return given_checkpoint(MODELS[model])


def encoder_path(model, seed):
    """Return what embeddings are made with: the pre-trained checkpoint, or the export of a tuned model."""
    if model in TUNED_MODELS:
        return "results/tune/{}/{}/seed-{}/model".format(*TUNED_MODELS[model], seed)
    return pretrained_checkpoint(model, seed)


def finetuning_data(task, model):
    """Return what the data of a fine-tuning or a tuning are made of, and the checkpoint, if one is given."""
    given = [] if model in TRAINED_MODELS else [given_checkpoint(MODELS[model])]
    return training_data([*task_inputs(task), *given], entry=shipped_data(task) | data_entry(task))


def finetuning_settings_of(model, task, entry):
    """Return all that defines the fine-tunings of a model on a task, but for the seed; `entry` is the task's."""
    return {
        "model": MODELS[model],
        "task": entry,
        "finetuning": FINETUNING,
        "hardware": config["hardware"],
        "data": finetuning_data(task, model),
    }


def pretrained_start(wildcards):
    """Return the checkpoint that training goes on from; one that is given counts by its content, among the settings."""
    path = pretrained_checkpoint(wildcards.model, wildcards.seed)
    return path if wildcards.model in TRAINED_MODELS else ancient(path)


def starting_checkpoint(wildcards):
    """Return the checkpoint that a fine-tuning starts from: the pre-trained one, or another task's."""
    start = TASKS[wildcards.task].start_from
    if start is None:
        return pretrained_start(wildcards)
    return f"results/finetune/{wildcards.model}/{start}/seed-{wildcards.seed}/best.pt"


def tuned_checkpoint(wildcards):
    """Return the fine-tuned checkpoint that a task is evaluated with: its own, or another task's."""
    task = TASKS[wildcards.task].evaluated_with or wildcards.task
    return f"results/finetune/{wildcards.model}/{task}/seed-{wildcards.seed}/best.pt"


def setting_entry(wildcards):
    """Return a task's entry of the config with one value for each of its lists."""
    return finetuning_entry(wildcards.task) | SWEEPS[wildcards.task][wildcards.setting]


def of_all_settings(path, seeds=None):
    """Return an input: the path of each setting, of a job's seed or of each of these."""
    return lambda wildcards: expand(
        path,
        model=wildcards.model,
        task=wildcards.task,
        setting=SWEEPS[wildcards.task],
        seed=seeds or wildcards.seed,
    )


# pre-training
PRETRAINED = "results/pretrain/{model}/seed-{seed}/model.pt"
STARTED_MODELS = list(starts_of(config["models"]))


def files_of_start(model):
    """Return the files that a model starts from; none if its weights are drawn."""
    if model not in STARTED_MODELS:
        return []
    return start_files(config["models"][model]["initialize_from"], data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR)


def name_of_start(model):
    """Return what a model starts from, as it is noted in its checkpoints; None if its weights are drawn."""
    return start_name(config["models"][model]["initialize_from"]) if model in STARTED_MODELS else None


def start_of(wildcards):
    """Return the checkpoint that a pre-training starts from, in a list: none if weights are drawn."""
    start = ancient_once(PRETRAINED, "results/pretrain/{model}/seed-{seed}/start.pt")
    return [start(wildcards)] if wildcards.model in STARTED_MODELS else []
