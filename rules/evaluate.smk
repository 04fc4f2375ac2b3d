"""Evaluation. In: fine-tuned checkpoints, pre-trained ones. Out: predictions, metrics; what the cross path carries.

To predict takes the checkpoint, which is deleted then. To score does not: other code for metrics costs seconds.
"""

PREDICTIONS = "results/evaluate/{model}/{task}/seed-{seed}/predictions.tsv"


rule evaluate_task:
    input:
        checkpoint=lambda wildcards: fine_tuned(wildcards.model, wildcards.task, wildcards.seed),
        data=ancient_once(PREDICTIONS, "results/binarized/tasks/{task}"),
        prepared=ancient_once(PREDICTIONS, "results/tasks/{task}"),
        settings="results/finetune/{model}/{task}/settings.json",
    output:
        PREDICTIONS,
    log:
        "results/logs/evaluate_task/{model}/{task}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate_task/{model}/{task}/seed-{seed}.jsonl"
    wildcard_constraints:
        task=alternatives(task for task in TASKS if task not in SWEEPS),
    conda:
        TRAINING_ENV
    threads: config["hardware"]["threads"]
    resources:
        **gpus(),
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        entry=lambda wildcards: trained_entry(wildcards.task),
        device=config["hardware"]["device"],
        precision=config["hardware"]["precision"],
    script:
        "../workflow_scripts/evaluate.py"


rule score_task:
    input:
        predictions=PREDICTIONS,
        prepared="results/tasks/{task}",
        data="results/binarized/tasks/{task}",
    output:
        "results/evaluate/{model}/{task}/seed-{seed}/metrics.json",
    log:
        "results/logs/score_task/{model}/{task}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/score_task/{model}/{task}/seed-{seed}.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        entry=lambda wildcards: finetuning_entry(wildcards.task),
        code=code_of("score.py", "report.yaml"),
    script:
        "../workflow_scripts/score.py"


rule measure_cross_path:
    input:
        checkpoint=PRETRAINED,
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
    params:
        code=code_of("measure_cross_path.py", TRAINING_ENV),
    script:
        "../workflow_scripts/measure_cross_path.py"


rule measure_masked_words:
    input:
        checkpoint=PRETRAINED,
        corpus="results/binarized/corpus",
        vocabulary="results/bpe/vocabulary",
    output:
        "results/masked_words/{model}/seed-{seed}/words.tsv",
    log:
        "results/logs/measure_masked_words/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/measure_masked_words/{model}/seed-{seed}.jsonl"
    conda:
        TRAINING_ENV
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_of("measure_masked_words.py", TRAINING_ENV),
    script:
        "../workflow_scripts/measure_masked_words.py"


rule study_cross_attention:
    input:
        checkpoint=PRETRAINED,
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
    params:
        code=code_of("study_cross_attention.py", TRAINING_ENV),
    script:
        "../workflow_scripts/study_cross_attention.py"
