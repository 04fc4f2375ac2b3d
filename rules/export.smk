"""Exports. In: pre-trained checkpoints, the vocabulary, result tables. Out: model folders for others to load."""


rule export_encoder:
    input:
        checkpoint=lambda wildcards: encoder_path(wildcards.model, wildcards.seed),
        vocabulary="results/bpe/vocabulary",
        tables=expand("results/tables/{name}.csv", name=RESULTS.made_of),
        provenance="results/provenance.json",
    output:
        directory("results/exports/{model}/seed-{seed}"),
    log:
        "results/logs/export_encoder/{model}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/export_encoder/{model}/seed-{seed}.jsonl"
    conda:
        TRAINING_ENV
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        code=code_of("export_encoder.py", TRAINING_ENV),
    script:
        "../workflow_scripts/export_encoder.py"
