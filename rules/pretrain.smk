"""Pre-training. In: the binarized corpus. Out: one checkpoint for each model and seed, its loss curves, its command.

Checkpoints in progress are no outputs (Snakemake would delete them with a failed job): they lie beside, under runs/.
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
            "data": training_data(corpus_inputs()),
        },
    script:
        "../workflow_scripts/note_settings.py"


rule pretrain_model:
    input:
        data=ancient_once("results/pretrain/{model}/seed-{seed}/model.pt", "results/binarized/corpus"),
        settings="results/pretrain/{model}/settings.json",
    output:
        checkpoint="results/pretrain/{model}/seed-{seed}/model.pt",
        history="results/pretrain/{model}/seed-{seed}/history.tsv",
        command="results/pretrain/{model}/seed-{seed}/command.json",
    log:
        "results/logs/pretrain_model/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/pretrain_model/{model}/seed-{seed}.jsonl"
    conda:
        TRAINING_ENV
    threads: config["hardware"]["threads"] * config["hardware"]["processes"]
    resources:
        **pretraining_processes(),
        mem_mb=growing(16000),
        runtime=7 * 24 * 60,  # a retry goes on where the last one stopped
    params:
        model=lambda wildcards: MODELS[wildcards.model],
        hardware=config["hardware"],
    script:
        "../workflow_scripts/pretrain.py"
