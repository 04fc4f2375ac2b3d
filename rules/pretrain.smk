"""Pre-training. In: the binarized corpus. Out: one checkpoint for each model and seed, its loss curves, its command.

Checkpoints in progress are no outputs (Snakemake would delete them with a failed job): they lie beside, under runs/.
"""


rule pretrain_model:
    input:
        data="results/binarized/corpus",
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
