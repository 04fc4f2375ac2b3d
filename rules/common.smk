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
from cross_thought.data.demo import TASK_SIZES as DEMO_TASK_SIZES
from cross_thought.data.download import DOWNLOADS_TABLE, checkpoint_download, read_table
from cross_thought.data.pairs import pair_tasks_of
from cross_thought.data.raw_files import DOWNLOADS_DIR, missing_files, own_or_download
from cross_thought.data.run_inputs import GPT2_FILES, corpus_inputs, prepared_tasks, run_inputs, task_inputs
from cross_thought.data.run_results import CONFIG_KEYS, RunResults
from cross_thought.data.starts import as_trained, model_downloads, start_files, start_name, starts_of
from cross_thought.data.sweeps import kept_by_config, kept_tasks, without_lists
from cross_thought.data.tasks import DATA_KEYS, REGISTRY, task_entries
from cross_thought.yaml_text import listed

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
    RESULTS = RunResults(config)
    PAIR_TASKS = pair_tasks_of(config)
    PREPARED_TASKS = prepared_tasks(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

MODELS = {name: as_trained(model) for name, model in config["models"].items()}
SEEDS, PRETRAINING_SEEDS = RESULTS.seeds, RESULTS.pretraining_seeds
TASKS, EMBEDDING_TASKS, RETRIEVAL_TASKS = RESULTS.tasks, RESULTS.embedding_tasks, RESULTS.retrieval_tasks
SWEEPS, POOLINGS = RESULTS.sweeps, RESULTS.poolings
TRAINED_MODELS, TUNED_MODELS, ENCODERS = RESULTS.trained_models, RESULTS.tuned_models, RESULTS.encoders
TUNING = {key: value for key, value in config["embedding_tuning"].items() if key != "pairs"}


PRETRAINED = "results/pretrain/{model}/seed-{seed}/model.pt"
FINE_TUNED = "results/finetune/{model}/{task}/seed-{seed}/best.pt"

# raw files
DATA_DIR = config["data_dir"]
DEMO_DIR = f"{DOWNLOADS_DIR}/demo"
KNOWN_DOWNLOADS = read_table(DOWNLOADS_TABLE)
DOWNLOADS = KNOWN_DOWNLOADS | {item.name: item for item in model_downloads(config["models"], KNOWN_DOWNLOADS)}
CORPUS_INPUTS = corpus_inputs(config)


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
    return own_or_download(name, data_dir=DATA_DIR)


def given_checkpoint(model):
    """Return the checkpoint of a model that is not trained here."""
    if model["source"] == "path":
        return model["location"]
    item = checkpoint_download(KNOWN_DOWNLOADS, source=model["source"], location=model["location"])
    path = own_or_download_path(item.name)
    return f"{DOWNLOADS_DIR}/{item.name.removesuffix('.tar.gz')}/model.pt" if path.endswith(".tar.gz") else path


# What is downloaded though some of it is at hand: most likely a file lies elsewhere, or has another name.
if workflow.is_main_process:
    for name, task in PREPARED_TASKS.items():
        for file in missing_files(task, data_dir=DATA_DIR):
            logger.warning(
                f"{name}: {file} is not in data_dir {DATA_DIR}, so {', '.join(task.downloads)} must be fetched"
            )
    if DATA_DIR is not None:
        given = [model[key] for model in config["models"].values() for key in ("location", "initialize_from")]
        given += [path for entry in config["predict"].values() for path in listed(entry["files"])]
        used = map(os.path.abspath, filter(None, [*run_inputs(config), *given]))
        if not any(path.startswith(os.path.join(os.path.abspath(DATA_DIR), "")) for path in used):
            logger.warning(
                f"data_dir {DATA_DIR}: nothing in it is used, as no file there has the name of one that is needed"
            )
    raw = with_caption_files(CORPUS_INPUTS, data_dir=DATA_DIR)
    fetched = [path for path in raw if path.startswith(f"{DOWNLOADS_DIR}/multi30k/")]
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


def code_of_table(table):
    """Return the same of a table, whose module alone counts of those that the script knows; and its figure's."""
    others = ["workflow_scripts/make_table.py", "envs/report.yaml"]
    others += ["cross_thought/tables/figures.py"] if table in RESULTS.figures.values() else []
    place = Path(REPOSITORY)
    return code_hash(place / "cross_thought" / "tables" / f"{table}.py", *map(place.joinpath, others))


def training_data(files, **settings):
    """Return what the data of a training are made of: settings, and raw files, those of one's own by their content.

    A download is known by its name. One of the table has a checksum; what a model names by a URL, or on the hub, has none:
    if the content changes there, give it another name (OWNER/NAME@REVISION).
    """
    vocabulary = CORPUS_INPUTS if config["bpe"]["source"] == "train" else map(own_or_download_path, GPT2_FILES.values())
    return settings | {
        "files": [
            path if path.startswith(f"{DOWNLOADS_DIR}/") else fingerprint(Path(path))
            for path in with_caption_files([*files, *vocabulary], data_dir=DATA_DIR)
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
    fetched = [path for path in run_inputs(config) if path.startswith(f"{DOWNLOADS_DIR}/")]
    return [path for path in fetched if not path.startswith(DEMO_DIR)]


# A task that is evaluated with another one's model has none of its own; one with a sweep has several.
TUNED_TASKS = [name for name, task in TASKS.items() if task.evaluated_with is None and name not in SWEEPS]
KEPT_TASKS = kept_tasks(TASKS, config)


def is_gone(checkpoint):
    """Return whether a fine-tuned checkpoint was deleted when it had been evaluated."""
    evaluated = os.path.dirname(checkpoint).replace("results/finetune/", "results/evaluate/", 1)
    return os.path.exists(f"{evaluated}/predictions.tsv") and not os.path.exists(checkpoint)


def without_keeping(settings):
    """Return settings of a fine-tuning but for `keep_checkpoints`: changed, it is the same fine-tuning."""
    return {key: value for key, value in settings.items() if key != "keep_checkpoints"}


# what all trainings have of it: where it has lists, a setting or a task's own entry says which value
FINETUNING = without_keeping(without_lists(config["finetuning"]))


def finetuning_entry(task):
    """Return what a task's entry of the config says of its fine-tuning."""
    return without_keeping(config["tasks"][task])


def trained_entry(task):
    """Return what of it a training and its predictions go by: not what is computed of these."""
    return {key: value for key, value in finetuning_entry(task).items() if key not in ("metrics", "in_average")}


def data_section(task):
    """Return the key of the config under which a task's data are described."""
    return next(section for section, entries in task_entries(config).items() if task in entries)


def data_entry(task):
    """Return what of a task's config its data depend on: a changed learning rate prepares nothing anew."""
    entry = task_entries(config)[data_section(task)][task]
    return {key: value for key, value in entry.items() if key in DATA_KEYS}


def shipped_data(task):
    """Return what resources/tasks.yaml says of a task's data: changed there, it is prepared anew."""
    return {key: value for key, value in REGISTRY.get(task, {}).items() if key in DATA_KEYS}


def pretrained_checkpoint(model, seed):
    """Return the checkpoint that a fine-tuning with a seed starts from."""
    if MODELS[model]["source"] == "pretrain":
        run = seed if config["pretraining_seed"] == "each" else config["pretraining_seed"]
        return PRETRAINED.format(model=model, seed=run)
    return given_checkpoint(MODELS[model])


def encoder_path(model, seed):
    """Return what embeddings are made with: the pre-trained checkpoint, or the export of a tuned model."""
    if model in TUNED_MODELS:
        return "results/tune/{}/{}/seed-{}/model".format(*TUNED_MODELS[model], seed)
    return pretrained_checkpoint(model, seed)


def finetuning_data(task, model):
    """Return what the data of a fine-tuning or a tuning are made of, and the checkpoint, if one is given."""
    given = [] if model in TRAINED_MODELS else [given_checkpoint(MODELS[model])]
    return training_data(
        [*task_inputs(PREPARED_TASKS[task], config), *given], entry=shipped_data(task) | data_entry(task)
    )


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
    return FINE_TUNED.format(model=wildcards.model, task=start, seed=wildcards.seed)


def fine_tuned(model, task, seed):
    """Return the fine-tuned checkpoint that a task is answered with: its own, or another task's."""
    return FINE_TUNED.format(model=model, task=TASKS[task].evaluated_with or task, seed=seed)


def setting_entry(wildcards):
    """Return a task's entry of the config with one value for each of its lists."""
    return trained_entry(wildcards.task) | SWEEPS[wildcards.task][wildcards.setting]


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
STARTS = starts_of(config["models"])  # model -> its `initialize_from`; of others, weights are drawn


def files_of_start(model):
    """Return the files that a model starts from; none if its weights are drawn."""
    return start_files(STARTS[model], data_dir=DATA_DIR) if model in STARTS else []


def start_of(wildcards):
    """Return the checkpoint that a pre-training starts from, in a list: none if weights are drawn."""
    start = ancient_once(PRETRAINED, "results/pretrain/{model}/seed-{seed}/start.pt")
    return [start(wildcards)] if wildcards.model in STARTS else []
