"""Fine-tuning. In: a checkpoint and a binarized task. Out: the checkpoint that is best on the dev set, loss curves."""


localrules:
    note_finetuning,


rule note_finetuning:
    output:
        "results/finetune/{model}/{task}/settings.json",
    log:
        "results/logs/note_finetuning/{model}/{task}.log",
    benchmark:
        "results/benchmarks/note_finetuning/{model}/{task}.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        settings=lambda wildcards: finetuning_settings_of(
            wildcards.model, wildcards.task, config["tasks"][wildcards.task]
        ),
    script:
        "../workflow_scripts/note_settings.py"


rule finetune_task:
    input:
        data=ancient_once("results/finetune/{model}/{task}/seed-{seed}/history.tsv", "results/binarized/tasks/{task}"),
        pretrained=starting_checkpoint,
        settings="results/finetune/{model}/{task}/settings.json",
    output:
        checkpoint=temp("results/finetune/{model}/{task}/seed-{seed}/best.pt"),
        history="results/finetune/{model}/{task}/seed-{seed}/history.tsv",
        command="results/finetune/{model}/{task}/seed-{seed}/command.json",
    log:
        "results/logs/finetune_task/{model}/{task}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/finetune_task/{model}/{task}/seed-{seed}.jsonl"
    wildcard_constraints:
        task=alternatives(task for task in TUNED_TASKS if task not in KEPT_TASKS),
    conda:
        TRACKING_ENV
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=growing(24 * 60),
        gpu=num_gpus(),
    params:
        entry=lambda wildcards: config["tasks"][wildcards.task],
        model=lambda wildcards: MODELS[wildcards.model],
        finetuning=FINETUNING,
        hardware=config["hardware"],
        curves=lambda wildcards, output: curves_folder(output.history),
    script:
        "../workflow_scripts/finetune.py"


use rule finetune_task as finetune_kept_task with:
    output:
        checkpoint="results/finetune/{model}/{task}/seed-{seed}/best.pt",
        history="results/finetune/{model}/{task}/seed-{seed}/history.tsv",
        command="results/finetune/{model}/{task}/seed-{seed}/command.json",
    wildcard_constraints:
        task=alternatives(task for task in TUNED_TASKS if task in KEPT_TASKS),
