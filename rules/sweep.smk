"""Sweeps. In: a checkpoint, a binarized task some of whose settings are lists. Out: the runs of the best setting.

Each setting has its own folders, named after it, below those of its model and task. Once one is chosen, its runs are
copied to where those of a task without lists lie, and nothing that goes on from there knows of a sweep.
"""

SETTING_NOTE = "results/finetune/{model}/{task}/{setting}/settings.json"
SETTING_HISTORY = "results/finetune/{model}/{task}/{setting}/seed-{seed}/history.tsv"
SETTING_COMMAND = "results/finetune/{model}/{task}/{setting}/seed-{seed}/command.json"
SETTING_CHECKPOINT = "results/finetune/{model}/{task}/{setting}/seed-{seed}/best.pt"
SETTING_PREDICTIONS = "results/evaluate/{model}/{task}/{setting}/seed-{seed}/predictions.tsv"


localrules:
    note_setting,
    note_sweep,


use rule note_finetuning as note_setting with:
    output:
        SETTING_NOTE,
    log:
        "results/logs/note_setting/{model}/{task}/{setting}.log",
    benchmark:
        "results/benchmarks/note_setting/{model}/{task}/{setting}.jsonl"
    params:
        settings=lambda wildcards: finetuning_settings_of(wildcards.model, wildcards.task, setting_entry(wildcards)),


use rule note_finetuning as note_sweep with:
    output:
        "results/finetune/{model}/{task}/sweep.json",
    log:
        "results/logs/note_sweep/{model}/{task}.log",
    benchmark:
        "results/benchmarks/note_sweep/{model}/{task}.jsonl"
    wildcard_constraints:
        task=alternatives(SWEEPS),
    params:
        settings=lambda wildcards: {"metric": TASKS[wildcards.task].metrics[0], "settings": SWEEPS[wildcards.task]},


use rule finetune_task as finetune_setting with:
    input:
        data=ancient_once(SETTING_HISTORY, "results/binarized/tasks/{task}"),
        pretrained=starting_checkpoint,
        settings=SETTING_NOTE,
    output:
        checkpoint=temp(SETTING_CHECKPOINT),
        history=SETTING_HISTORY,
        command=SETTING_COMMAND,
    log:
        "results/logs/finetune_setting/{model}/{task}/{setting}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/finetune_setting/{model}/{task}/{setting}/seed-{seed}.jsonl"
    wildcard_constraints:
        task=alternatives(SWEEPS),
    params:
        entry=setting_entry,


use rule evaluate_task as evaluate_setting with:
    input:
        checkpoint=SETTING_CHECKPOINT,
        data=ancient_once(SETTING_PREDICTIONS, "results/binarized/tasks/{task}"),
        prepared=ancient_once(SETTING_PREDICTIONS, "results/tasks/{task}"),
        settings=SETTING_NOTE,
    output:
        SETTING_PREDICTIONS,
    log:
        "results/logs/evaluate_setting/{model}/{task}/{setting}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate_setting/{model}/{task}/{setting}/seed-{seed}.jsonl"
    wildcard_constraints:
        task=alternatives(SWEEPS),
    params:
        entry=setting_entry,


# Without `code_of`, and from predictions, which no other code makes anew: a choice made anew would have a checkpoint that
# is kept taken anew, and those of all settings, long deleted, trained.
rule choose_setting:
    input:
        predictions=of_all_settings(SETTING_PREDICTIONS, seeds=SEEDS),
        sweep="results/finetune/{model}/{task}/sweep.json",
    output:
        "results/finetune/{model}/{task}/choice.json",
    log:
        "results/logs/choose_setting/{model}/{task}.log",
    benchmark:
        "results/benchmarks/choose_setting/{model}/{task}.jsonl"
    wildcard_constraints:
        task=alternatives(SWEEPS),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        # takes `output`, so a change of what else the entry says is no reason
        entry=lambda wildcards, output: config["tasks"][wildcards.task],
    script:
        "../workflow_scripts/choose_setting.py"


# what is taken of a run, checkpoint or not: from those of all settings, to where a task without lists has its own
RUNS_TO_CHOOSE_FROM = {
    "choice": "results/finetune/{model}/{task}/choice.json",
    "history": of_all_settings(SETTING_HISTORY),
    "command": of_all_settings(SETTING_COMMAND),
    "predictions": of_all_settings(SETTING_PREDICTIONS),
}
CHOSEN_RUN = {**FINE_TUNING, "predictions": PREDICTIONS}


rule take_chosen_run:
    input:
        **RUNS_TO_CHOOSE_FROM,
    output:
        **CHOSEN_RUN,
    log:
        "results/logs/take_chosen_run/{model}/{task}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/take_chosen_run/{model}/{task}/seed-{seed}.jsonl"
    wildcard_constraints:
        task=alternatives(task for task in SWEEPS if task not in KEPT_TASKS),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    script:
        "../workflow_scripts/take_chosen_run.py"


use rule take_chosen_run as take_kept_run with:
    input:
        **RUNS_TO_CHOOSE_FROM,
        checkpoint=of_all_settings(SETTING_CHECKPOINT),
    output:
        **CHOSEN_RUN,
        checkpoint=FINE_TUNED,
    wildcard_constraints:
        task=alternatives(task for task in SWEEPS if task in KEPT_TASKS),
