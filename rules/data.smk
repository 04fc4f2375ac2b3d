"""Raw files and prepared text. In: own files, downloads, or what is made of them. Out: results/corpus, results/tasks.

A file of one's own, below `data_dir`, goes before a download of the same name.
"""


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
        mem_mb=growing(2000),
        runtime=growing(24 * 60),
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
        mem_mb=growing(1000),
        runtime=growing(30),
    script:
        "../workflow_scripts/unpack_checkpoint.py"


rule generate_demo:
    output:
        corpus=f"{DEMO_DIR}/corpus.txt",
        tasks=expand(
            f"{DEMO_DIR}/{{task}}/{{split}}.tsv",
            task=list(DEMO_TASK_SIZES),
            split=["train", "dev", "test"],
        ),
        pairs=f"{DEMO_DIR}/demo-find/pairs.tsv",
    log:
        "results/logs/generate_demo.log",
    benchmark:
        "results/benchmarks/generate_demo.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        num_documents=config["corpus"]["demo_documents"],
        seed=config["corpus"]["demo_seed"],
        code=code_of("generate_demo.py", "data.yaml"),
    script:
        "../workflow_scripts/generate_demo.py"


rule generate_captions:
    input:
        **{split: [own_or_download_path(name) for name in caption_files(split)] for split in CAPTION_SPLITS},
    output:
        corpus=expand(f"{DOWNLOADS_DIR}/captions/corpus/{{split}}.txt", split=CAPTION_SPLITS),
        tasks=expand(
            f"{DOWNLOADS_DIR}/captions/captions-{{task}}/{{split}}.tsv",
            task=["same", "pick", "find"],
            split=CAPTION_SPLITS,
        ),
    log:
        "results/logs/generate_captions.log",
    benchmark:
        "results/benchmarks/generate_captions.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        seed=1,
        data_dir=DATA_DIR,
        code=code_of("generate_captions.py", "data.yaml"),
    script:
        "../workflow_scripts/generate_captions.py"


rule prepare_corpus:
    input:
        CORPUS_INPUTS,
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
        mem_mb=growing(2000),
        runtime=growing(6 * 60),
    params:
        corpus={key: config["corpus"][key] for key in ("source", "files", "format", "lines", "text_field")},
        valid_fraction=config["corpus"]["valid_fraction"],
        data_dir=DATA_DIR,
        code=code_of("prepare_corpus.py", "data.yaml"),
    script:
        "../workflow_scripts/prepare_corpus.py"


rule prepare_task:
    input:
        lambda wildcards: task_inputs(PREPARED_TASKS[wildcards.task], config),
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
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        entry=lambda wildcards: data_entry(wildcards.task),
        shipped=lambda wildcards: shipped_data(wildcards.task),
        section=lambda wildcards: data_section(wildcards.task),
        data_dir=DATA_DIR,
        code=code_of("prepare_task.py", "data.yaml"),
    script:
        "../workflow_scripts/prepare_task.py"
