"""Predictions. In: fine-tuned checkpoints, which are kept, and rows without labels. Out: an answer for each row."""

# The fine-tuned checkpoint that each entry of the config names: of the first seed unless it says another.
ANSWERS_OF = {
    name: fine_tuned(entry["model"], entry["task"], entry.get("seed", SEEDS[0]))
    for name, entry in config["predict"].items()
}

# What was evaluated before it was asked for is gone.
if workflow.is_main_process:
    for name, best in ANSWERS_OF.items():
        if is_gone(best):
            logger.warning(
                f"predict.{name}: {best} was deleted when it had been evaluated, so it is trained anew and evaluated "
                "again; to avoid that, name a model, task and seed whose checkpoint is there"
            )
            swept = SWEEPS.get(Path(best).parts[3], {})
            if len(swept) > 1:
                logger.warning(
                    f"predict.{name}: so are all {len(swept)} settings that one is chosen from; to avoid that, put the "
                    "values that were chosen (results/tables/sweeps.md) in place of the lists"
                )


rule predict_rows:
    input:
        checkpoint=lambda wildcards: ANSWERS_OF[wildcards.prediction],
        vocabulary="results/bpe/vocabulary",
        files=lambda wildcards: config["predict"][wildcards.prediction]["files"],
    output:
        "results/predict/{prediction}/predictions.tsv",
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
        **gpus(),
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        entry=lambda wildcards: config["predict"][wildcards.prediction],
        task=lambda wildcards: config["tasks"][config["predict"][wildcards.prediction]["task"]],
        device=config["hardware"]["device"],
        precision=config["hardware"]["precision"],
        code=code_of("predict_rows.py", TRAINING_ENV),
    script:
        "../workflow_scripts/predict_rows.py"
