"""Pre-training. In: the binarized corpus. Out: one checkpoint for each model and seed, its loss curves, its command.

A model that starts from a RoBERTa gets a checkpoint made of it, which goes once the training is done. Checkpoints in
progress are no outputs (Snakemake would delete them with a failed job): they lie beside, under runs/.
"""


localrules:
    note_pretraining,


rule note_pretraining:
    output:
        "results/pretrain/{model}/settings.json",
    log:
        "results/logs/note_pretraining/{model}.log",
    benchmark:
        "results/benchmarks/note_pretraining/{model}.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        settings=lambda wildcards: {
            "model": MODELS[wildcards.model],
            "hardware": config["hardware"],
            "data": training_data([*CORPUS_INPUTS, *files_of_start(wildcards.model)]),
        },
    script:
        "../workflow_scripts/note_settings.py"


rule make_start:
    input:
        vocabulary="results/bpe/vocabulary",
        settings="results/pretrain/{model}/settings.json",  # has the content of one's own files
        downloads=lambda wildcards: [
            path for path in files_of_start(wildcards.model) if path.startswith(f"{DOWNLOADS_DIR}/")
        ],
    output:
        temp("results/pretrain/{model}/seed-{seed}/start.pt"),
    log:
        "results/logs/make_start/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/make_start/{model}/seed-{seed}.jsonl"
    wildcard_constraints:
        model=alternatives(STARTS),
    conda:
        TRAINING_ENV
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        # takes `output`, so another place of the files is no reason for Snakemake; as inputs they would be one
        files=lambda wildcards, output: files_of_start(wildcards.model),
        model=lambda wildcards: MODELS[wildcards.model],
    script:
        "../workflow_scripts/make_start.py"


rule pretrain_model:
    input:
        data=ancient_once(PRETRAINED, "results/binarized/corpus"),
        start=start_of,
        settings="results/pretrain/{model}/settings.json",
    output:
        checkpoint=PRETRAINED,
        history="results/pretrain/{model}/seed-{seed}/history.tsv",
        command="results/pretrain/{model}/seed-{seed}/command.json",
    log:
        "results/logs/pretrain_model/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/pretrain_model/{model}/seed-{seed}.jsonl"
    conda:
        TRACKING_ENV
    threads: config["hardware"]["threads"] * config["hardware"]["processes"]
    resources:
        **pretraining_processes(),
        mem_mb=growing(16000),
        runtime=7 * 24 * 60,  # a retry goes on where the last one stopped
    params:
        model=lambda wildcards: MODELS[wildcards.model],
        hardware=config["hardware"],
        # these take `output`, so a change of them is no reason
        started_from=lambda wildcards, output: (
            start_name(STARTS[wildcards.model]) if wildcards.model in STARTS else None
        ),
        curves=lambda wildcards, output: curves_folder(output.history),
    script:
        "../workflow_scripts/pretrain.py"
