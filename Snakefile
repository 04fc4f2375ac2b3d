"""Cross-Thought, from raw text to result tables. Named targets; the stages are in rules/."""

from snakemake.utils import min_version

min_version("9.0")


include: "rules/common.smk"
include: "rules/hardware.smk"
include: "rules/targets.smk"
include: "rules/data.smk"
include: "rules/bpe.smk"
include: "rules/binarize.smk"
include: "rules/tracking.smk"
include: "rules/pretrain.smk"
include: "rules/finetune.smk"
include: "rules/evaluate.smk"
include: "rules/sweep.smk"
include: "rules/predict.smk"
include: "rules/tune.smk"
include: "rules/embed.smk"
include: "rules/tables.smk"
include: "rules/export.smk"


limit_gpus()


onstart:
    check_local_gpus()


localrules:
    all,
    download,
    binarize,
    pretrain,
    finetune,
    predict,
    embeddings,
    tables,
    submission,
    exports,


rule all:
    default_target: True
    input:
        all_tables(),
        expand("results/predict/{name}/predictions.tsv", name=config["predict"]),


rule download:
    input:
        all_downloads(),


rule binarize:
    input:
        all_binarized(),


rule pretrain:
    input:
        all_pretrained(),


rule finetune:
    input:
        all_metrics(),


rule predict:
    input:
        expand("results/predict/{name}/predictions.tsv", name=config["predict"]),


rule embeddings:
    input:
        expand("results/tables/embeddings.{ending}", ending=["csv", "md", "tex"]) if EMBEDDING_TASKS else [],


rule tables:
    input:
        all_tables(),


rule submission:
    input:
        all_submissions(),


rule exports:
    input:
        all_exports(),
