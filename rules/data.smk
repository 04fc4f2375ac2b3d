"""Raw files and prepared text. In: own files, downloads, or the demo's generator. Out: results/corpus, results/tasks.

A file of one's own, below `data_dir`, goes before a download of the same name.
"""

from cross_thought.text.corpus import corpus_files
from cross_thought.text.download import checkpoint_download, read_table
from cross_thought.text.tasks import DATA_KEYS, is_demo, own_or_download, raw_files

DATA_DIR = config["data_dir"]
DOWNLOADS_DIR = "results/downloads"
DEMO_DIR = f"{DOWNLOADS_DIR}/demo"
DEMO_TASKS = ["demo-match", "demo-overlap", "demo-job"]
KNOWN_DOWNLOADS = read_table(Path(REPOSITORY, "resources", "downloads.tsv"))
MODEL_DOWNLOADS = [
    checkpoint_download(KNOWN_DOWNLOADS, source=model["source"], location=model["location"])
    for model in MODELS.values()
    if model["source"] in ("gdrive", "url")
]
DOWNLOADS = KNOWN_DOWNLOADS | {item.name: item for item in MODEL_DOWNLOADS}


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


def corpus_inputs():
    """Return the files that the corpus is made of."""
    files = corpus_files(config["corpus"], data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR)
    return sorted({file.path for split in files.values() for file in split})


def task_inputs(task):
    """Return the files that a task is made of."""
    files = raw_files(TASKS[task], data_dir=DATA_DIR, downloads_dir=DOWNLOADS_DIR).values()
    return sorted({path for file in files for path in (file.path, file.ids_path) if path})


def all_downloads():
    """Return every file that this config makes us fetch."""
    needed = [own_or_download_path(item.name) for item in MODEL_DOWNLOADS]
    if TRAINED_MODELS or config["bpe"]["source"] == "train":
        needed += corpus_inputs()
    if config["bpe"]["source"] == "gpt2":
        needed += [own_or_download_path(name) for name in GPT2_FILES.values()]
    for task in TASKS:
        needed += task_inputs(task)
    return sorted({path for path in needed if path.startswith(f"{DOWNLOADS_DIR}/") and not path.startswith(DEMO_DIR)})


rule fetch_file:
    output:
        f"{DOWNLOADS_DIR}/{{file}}",
    log:
        "results/logs/fetch_file/{file}.log",
    benchmark:
        "results/benchmarks/fetch_file/{file}.jsonl"
    wildcard_constraints:
        file=alternatives(DOWNLOADS),
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=24 * 60,
        network=1,
    params:
        size=lambda wildcards: DOWNLOADS[wildcards.file].size_text,
        url=lambda wildcards: DOWNLOADS[wildcards.file].url,
    message:
        "Fetch {wildcards.file}: {params.size}"
    script:
        "../workflow_scripts/fetch_file.py"


rule unpack_checkpoint:
    input:
        lambda wildcards: own_or_download_path(f"checkpoints/{wildcards.name}.tar.gz"),
    output:
        f"{DOWNLOADS_DIR}/checkpoints/{{name}}/model.pt",
    log:
        "results/logs/unpack_checkpoint/{name}.log",
    benchmark:
        "results/benchmarks/unpack_checkpoint/{name}.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../workflow_scripts/unpack_checkpoint.py"


rule generate_demo:
    output:
        corpus=f"{DEMO_DIR}/corpus.txt",
        tasks=expand(
            f"{DEMO_DIR}/{{task}}/{{split}}.tsv",
            task=DEMO_TASKS,
            split=["train", "dev", "test"],
        ),
    log:
        "results/logs/generate_demo.log",
    benchmark:
        "results/benchmarks/generate_demo.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        num_documents=config["corpus"]["demo_documents"],
        seed=config["corpus"]["demo_seed"],
    script:
        "../workflow_scripts/generate_demo.py"


rule prepare_corpus:
    input:
        corpus_inputs(),
    output:
        directory("results/corpus"),
    log:
        "results/logs/prepare_corpus.log",
    benchmark:
        "results/benchmarks/prepare_corpus.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=6 * 60,
    params:
        corpus={key: config["corpus"][key] for key in ("source", "files", "format")},
        valid_fraction=config["corpus"]["valid_fraction"],
        data_dir=DATA_DIR,
        downloads_dir=DOWNLOADS_DIR,
    script:
        "../workflow_scripts/prepare_corpus.py"


rule prepare_task:
    input:
        lambda wildcards: task_inputs(wildcards.task),
    output:
        directory("results/tasks/{task}"),
    log:
        "results/logs/prepare_task/{task}.log",
    benchmark:
        "results/benchmarks/prepare_task/{task}.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        entry=lambda wildcards: data_entry(wildcards.task),
        data_dir=DATA_DIR,
        downloads_dir=DOWNLOADS_DIR,
    script:
        "../workflow_scripts/prepare_task.py"


def data_entry(task):
    """Return what of a task's config its data depend on: a changed learning rate prepares nothing anew."""
    return {key: value for key, value in (config["tasks"][task] or {}).items() if key in DATA_KEYS}
