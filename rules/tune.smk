"""Tuned embeddings. In: a checkpoint, prepared pairs. Out: for each model and seed an export, its loss curve.

Checkpoints in progress are no outputs (Snakemake would delete them with a failed job): they lie beside, under runs/.
"""


localrules:
    note_tuning,


use rule note_pretraining as note_tuning with:
    output:
        "results/tune/{model}/{task}/settings.json",
    log:
        "results/logs/note_tuning/{model}/{task}.log",
    benchmark:
        "results/benchmarks/note_tuning/{model}/{task}.jsonl"
    wildcard_constraints:
        model=alternatives(MODELS),
        task=alternatives(PAIR_TASKS),
    params:
        settings=lambda wildcards: {
            "model": MODELS[wildcards.model],
            "tuning": TUNING,
            "pairs": vars(PAIR_TASKS[wildcards.task]),
            "hardware": config["hardware"],
            "data": finetuning_data(wildcards.task, wildcards.model),
        },


rule tune_embeddings:
    input:
        data=ancient_once("results/tune/{model}/{task}/seed-{seed}/history.tsv", "results/tasks/{task}"),
        pretrained=pretrained_start,
        vocabulary=ancient_once("results/tune/{model}/{task}/seed-{seed}/history.tsv", "results/bpe/vocabulary"),
        settings="results/tune/{model}/{task}/settings.json",
    output:
        model=directory("results/tune/{model}/{task}/seed-{seed}/model"),
        history="results/tune/{model}/{task}/seed-{seed}/history.tsv",
    log:
        "results/logs/tune_embeddings/{model}/{task}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/tune_embeddings/{model}/{task}/seed-{seed}.jsonl"
    wildcard_constraints:
        model=alternatives(MODELS),
        task=alternatives(PAIR_TASKS),
    conda:
        "../envs/sentence-transformers.yaml"
    threads: config["hardware"]["threads"]
    resources:
        **gpus(),
        mem_mb=growing(16000),
        runtime=growing(24 * 60),
    params:
        pairs=lambda wildcards: vars(PAIR_TASKS[wildcards.task]),
        tuning=TUNING,
        hardware=config["hardware"],
    script:
        "../workflow_scripts/tune_embeddings.py"
