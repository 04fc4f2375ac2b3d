"""Evaluation. In: fine-tuned checkpoints, pre-trained ones. Out: predictions with metrics; what the cross path carries."""


rule evaluate_task:
    input:
        checkpoint=tuned_checkpoint,
        data="results/binarized/tasks/{task}",
        prepared="results/tasks/{task}",
    output:
        predictions="results/evaluate/{model}/{task}/seed-{seed}/predictions.tsv",
        metrics="results/evaluate/{model}/{task}/seed-{seed}/metrics.json",
    log:
        "results/logs/evaluate_task/{model}/{task}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate_task/{model}/{task}/seed-{seed}.jsonl"
    conda:
        TRAINING_ENV
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=num_gpus(),
    params:
        entry=lambda wildcards: config["tasks"][wildcards.task],
        device=config["hardware"]["device"],
    script:
        "../workflow_scripts/evaluate.py"


rule measure_cross_path:
    input:
        checkpoint="results/pretrain/{model}/seed-{seed}/model.pt",
        corpus="results/binarized/corpus",
        vocabulary="results/bpe/vocabulary",
    output:
        "results/cross_path/{model}/seed-{seed}.json",
    log:
        "results/logs/measure_cross_path/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/measure_cross_path/{model}/seed-{seed}.jsonl"
    conda:
        TRAINING_ENV
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    script:
        "../workflow_scripts/measure_cross_path.py"


rule study_cross_attention:
    input:
        checkpoint="results/pretrain/{model}/seed-{seed}/model.pt",
        corpus="results/binarized/corpus",
        vocabulary="results/bpe/vocabulary",
    output:
        "results/cross_attention/{model}/seed-{seed}.json",
    log:
        "results/logs/study_cross_attention/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/study_cross_attention/{model}/seed-{seed}.jsonl"
    conda:
        TRAINING_ENV
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    script:
        "../workflow_scripts/study_cross_attention.py"
