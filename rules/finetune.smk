"""Fine-tuning. In: a checkpoint and a binarized task. Out: the checkpoint that is best on the dev set, loss curves."""

# what a fine-tuning leaves beside its checkpoint
FINE_TUNING = {
    "history": "results/finetune/{model}/{task}/seed-{seed}/history.tsv",
    "command": "results/finetune/{model}/{task}/seed-{seed}/command.json",
}

# What was evaluated before it was to be kept is gone. Tables do without it, so only who asks for it has it trained anew.
KEPT_CHECKPOINTS = expand(FINE_TUNED, model=MODELS, task=kept_by_config(TASKS, config), seed=SEEDS)

if workflow.is_main_process:
    num_gone = sum(map(is_gone, KEPT_CHECKPOINTS))
    if num_gone:
        logger.warning(
            f"keep_checkpoints: {num_gone} of {len(KEPT_CHECKPOINTS)} fine-tuned checkpoints were deleted when they had "
            "been evaluated; `snakemake finetune` trains them anew, and of a sweep all its settings"
        )


localrules:
    note_finetuning,


use rule note_pretraining as note_finetuning with:
    output:
        "results/finetune/{model}/{task}/settings.json",
    log:
        "results/logs/note_finetuning/{model}/{task}.log",
    benchmark:
        "results/benchmarks/note_finetuning/{model}/{task}.jsonl"
    params:
        settings=lambda wildcards: finetuning_settings_of(
            wildcards.model, wildcards.task, trained_entry(wildcards.task)
        ),


rule finetune_task:
    input:
        data=ancient_once(FINE_TUNING["history"], "results/binarized/tasks/{task}"),
        pretrained=starting_checkpoint,
        settings="results/finetune/{model}/{task}/settings.json",
    output:
        **FINE_TUNING,
        checkpoint=temp(FINE_TUNED),
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
        **gpus(),
        mem_mb=growing(16000),
        runtime=growing(24 * 60),
    params:
        entry=lambda wildcards: trained_entry(wildcards.task),
        model=lambda wildcards: MODELS[wildcards.model],
        finetuning=FINETUNING,
        hardware=config["hardware"],
        curves=lambda wildcards, output: curves_folder(output.history),
    script:
        "../workflow_scripts/finetune.py"


use rule finetune_task as finetune_kept_task with:
    output:
        **FINE_TUNING,
        checkpoint=FINE_TUNED,
    wildcard_constraints:
        task=alternatives(task for task in TUNED_TASKS if task in KEPT_TASKS),
