"""Tables, figures, provenance, submissions. In: metrics, predictions, loss curves, cross-path reports. Out: results."""

# What of the config they are computed by: another number of GPUs, or a checkpoint that is kept, tabulates nothing anew. A file,
# for Snakemake does not look at the `params` of a job behind a planned one: with fewer seeds, tables would keep them.
TABLE_CONFIG = {key: config[key] for key in CONFIG_KEYS}
TABLE_CONFIG["finetuning"] = without_keeping(config["finetuning"])
TABLE_CONFIG["tasks"] = {name: without_keeping(entry) for name, entry in config["tasks"].items()}


localrules:
    note_tables,


use rule note_pretraining as note_tables with:
    output:
        "results/tables/settings.json",
    log:
        "results/logs/note_tables.log",
    benchmark:
        "results/benchmarks/note_tables.jsonl"
    params:
        settings=TABLE_CONFIG,


for table in RESULTS.made_of:

    rule:
        name:
            f"tabulate_{table}"
        input:
            RESULTS.made_of[table],
            [RESULTS.published[table]] if table in RESULTS.published else [],
            settings="results/tables/settings.json",
        output:
            **table_outputs(table),
        log:
            f"results/logs/tabulate_{table}.log",
        benchmark:
            f"results/benchmarks/tabulate_{table}.jsonl"
        conda:
            "../envs/report.yaml"
        threads: 1
        resources:
            # all predictions are read, and resampled
            mem_mb=growing(4000 if table == "tasks" else 1000),
            runtime=growing(60 if table == "tasks" else 10),
        params:
            table=table,
            code=code_of_table(table),
        script:
            "../workflow_scripts/make_table.py"


rule plot_cross_attention:
    input:
        RESULTS.case_study(),
    output:
        **figure_files("cross_attention"),
    log:
        "results/logs/plot_cross_attention.log",
    benchmark:
        "results/benchmarks/plot_cross_attention.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("plot_cross_attention.py", "report.yaml"),
    script:
        "../workflow_scripts/plot_cross_attention.py"


rule write_config:
    output:
        "results/config.yaml",
    log:
        "results/logs/write_config.log",
    benchmark:
        "results/benchmarks/write_config.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        config=config,
        code=code_of("write_config.py", "report.yaml"),
    script:
        "../workflow_scripts/write_config.py"


rule record_provenance:
    input:
        expand("results/tables/{name}.csv", name=RESULTS.made_of),
        settings="results/tables/settings.json",
        config="results/config.yaml",
        data=[
            *(["results/corpus"] if TRAINED_MODELS else []),
            "results/bpe/vocabulary",
            *expand("results/tasks/{task}", task=PREPARED_TASKS),
            *expand("results/collections/{collection}", collection=RETRIEVAL_TASKS),
            *map(ancient, all_given()),  # touched, they say nothing new
        ],
    output:
        report(
            "results/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"file": "provenance.json"},
        ),
    log:
        "results/logs/record_provenance.log",
    benchmark:
        "results/benchmarks/record_provenance.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        code=code_of("record_provenance.py", "report.yaml"),
    script:
        "../workflow_scripts/record_provenance.py"


rule write_report:
    input:
        tables=expand("results/tables/{name}.md", name=RESULTS.made_of),
        figures=expand("results/figures/{name}.svg", name=RESULTS.figures),
        captions=[
            *expand(os.path.join(REPOSITORY, "report", "{name}.rst"), name=RESULTS.made_of),
            *expand(os.path.join(REPOSITORY, "report", "{name}_figure.rst"), name=RESULTS.figures),
        ],
        template=os.path.join(REPOSITORY, "report", "report.html.j2"),
        config="results/config.yaml",
        provenance="results/provenance.json",
    output:
        "results/report.html",
    log:
        "results/logs/write_report.log",
    benchmark:
        "results/benchmarks/write_report.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        tasks=list(PREPARED_TASKS),
        code=code_of("write_report.py", "report.yaml"),
    script:
        "../workflow_scripts/write_report.py"


rule zip_submission:
    input:
        metrics=expand("results/evaluate/{{model}}/{task}/seed-{seed}/metrics.json", task=TASKS, seed=SEEDS),
        predictions=expand("results/evaluate/{{model}}/{task}/seed-{seed}/predictions.tsv", task=TASKS, seed=SEEDS),
    output:
        "results/submissions/{model}.zip",
    log:
        "results/logs/zip_submission/{model}.log",
    benchmark:
        "results/benchmarks/zip_submission/{model}.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        tasks=config["tasks"],
        complete=config["submission"] == "complete",
        code=code_of("zip_submission.py", "report.yaml"),
    script:
        "../workflow_scripts/zip_submission.py"
