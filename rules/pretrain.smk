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
            "data": training_data([*corpus_inputs(), *files_of_start(wildcards.model)]),
        },
    script:
        "../workflow_scripts/note_settings.py"


rule make_start:
    input:
        vocabulary="results/bpe/vocabulary",
        files=lambda wildcards: files_of_start(wildcards.model),
    output:
        temp("results/pretrain/{model}/seed-{seed}/start.pt"),
    log:
        "results/logs/make_start/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/make_start/{model}/seed-{seed}.jsonl"
    wildcard_constraints:
        model=alternatives(STARTED_MODELS),
    conda:
        TRAINING_ENV
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
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
        # these take `output`, so a change of them is no reason for Snakemake
        started_from=lambda wildcards, output: name_of_start(wildcards.model),
        curves=lambda wildcards, output: curves_folder(output.history),
    script:
        "../workflow_scripts/pretrain.py"
