"""Predictions. In: fine-tuned checkpoints, which are kept, and rows without labels. Out: an answer for each row."""

PREDICTIONS_OF_ROWS = "results/predict/{prediction}/predictions.tsv"


def answering_checkpoint(prediction):
    """Return the fine-tuned checkpoint that an entry of the config's `predict` names: of the first seed by default."""
    entry = config["predict"][prediction]
    task = TASKS[entry["task"]].evaluated_with or entry["task"]
    return f"results/finetune/{entry['model']}/{task}/seed-{entry.get('seed', SEEDS[0])}/best.pt"


def all_predicted():
    """Return the predictions that the config asks for."""
    return expand(PREDICTIONS_OF_ROWS, prediction=config["predict"])


# What was evaluated before it was asked for is gone.
if workflow.is_main_process:
    for name in config["predict"]:
        best = answering_checkpoint(name)
        evaluated = os.path.dirname(best).replace("results/finetune/", "results/evaluate/", 1)
        if os.path.exists(f"{evaluated}/predictions.tsv") and not os.path.exists(best):
            logger.warning(
                f"predict.{name}: {best} was deleted when it had been evaluated, so it is trained anew and evaluated "
                "again; to avoid that, name a model, task and seed whose checkpoint is there"
            )


rule predict_rows:
    input:
        checkpoint=lambda wildcards: answering_checkpoint(wildcards.prediction),
        vocabulary="results/bpe/vocabulary",
        files=lambda wildcards: config["predict"][wildcards.prediction]["files"],
    output:
        PREDICTIONS_OF_ROWS,
    log:
        "results/logs/predict_rows/{prediction}.log",
    benchmark:
        "results/benchmarks/predict_rows/{prediction}.jsonl"
    wildcard_constraints:
        prediction=alternatives(config["predict"]),
    conda:
        TRAINING_ENV
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=num_gpus(),
    params:
        entry=lambda wildcards: config["predict"][wildcards.prediction],
        task=lambda wildcards: config["tasks"][config["predict"][wildcards.prediction]["task"]],
        device=config["hardware"]["device"],
        precision=config["hardware"]["precision"],
        code=code_of("predict_rows.py", TRAINING_ENV),
    script:
        "../workflow_scripts/predict_rows.py"
