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
include: "rules/mteb.smk"
include: "rules/retrieve.smk"
include: "rules/tables.smk"
include: "rules/export.smk"
include: "rules/archive.smk"


limit_gpus()


onstart:
    check_local_gpus()
    check_packages()
    check_nodes()


localrules:
    all,
    download,
    binarize,
    pretrain,
    finetune,
    predict,
    embeddings,
    retrieval,
    tables,
    submission,
    exports,
    archive,


rule all:
    default_target: True
    input:
        all_tables(),
        all_predictions(),


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
        made([*RESULTS.evaluations("metrics.json"), *KEPT_CHECKPOINTS], "list tasks under tasks"),


rule predict:
    input:
        made(all_predictions(), "say under predict which rows to answer"),


# the config beside the tables is the one they were made by: `verify` goes by it
rule embeddings:
    input:
        "results/config.yaml",
        made(embedding_tables(), "list tasks under embedding_tasks or mteb_tasks"),


rule retrieval:
    input:
        "results/config.yaml",
        made(tables_of("retrieval") if RETRIEVAL_TASKS else [], "list collections under retrieval_tasks"),


rule tables:
    input:
        all_tables(),


rule submission:
    input:
        made(all_submissions(), "list a task of GLUE under tasks"),


rule exports:
    input:
        all_exports(),


rule archive:
    input:
        "results/archive.zip",
