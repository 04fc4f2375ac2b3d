"""Tables, figures, provenance, submissions. In: metrics, predictions, loss curves, cross-path reports. Out: results."""


rule tabulate_tasks:
    input:
        metrics=all_metrics(),
        predictions=all_predictions(),
        references=os.path.join(REPOSITORY, "resources", "reference_results.tsv"),
    output:
        **table_files("tasks", "task results"),
    log:
        "results/logs/tabulate_tasks.log",
    benchmark:
        "results/benchmarks/tabulate_tasks.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        models=list(MODELS),
        tasks=config["tasks"],
        control=config["control"],
        num_settings={task: len(settings) for task, settings in SWEEPS.items()},
        code=code_of("tabulate_tasks.py", "report.yaml"),
    script:
        "../workflow_scripts/tabulate_tasks.py"


rule tabulate_sweeps:
    input:
        choices=all_choices(),
    output:
        **table_files("sweeps", "sweeps"),
    log:
        "results/logs/tabulate_sweeps.log",
    benchmark:
        "results/benchmarks/tabulate_sweeps.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("tabulate_sweeps.py", "report.yaml"),
    script:
        "../workflow_scripts/tabulate_sweeps.py"


rule tabulate_pretraining:
    input:
        histories=all_histories(),
    output:
        **table_files("pretraining", "pre-training"),
    log:
        "results/logs/tabulate_pretraining.log",
    benchmark:
        "results/benchmarks/tabulate_pretraining.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        cuts=sorted({MODELS[name]["segment_by"] for name in TRAINED_MODELS}),
        starts=starts_of(config["models"]),
        code=code_of("tabulate_pretraining.py", "report.yaml"),
    script:
        "../workflow_scripts/tabulate_pretraining.py"


rule tabulate_masked_words:
    input:
        words=all_masked_words(),
    output:
        **table_files("masked_words", "masked words"),
        **figure_files("masked_words", "masked words"),
    log:
        "results/logs/tabulate_masked_words.log",
    benchmark:
        "results/benchmarks/tabulate_masked_words.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("tabulate_masked_words.py", "report.yaml"),
    script:
        "../workflow_scripts/tabulate_masked_words.py"


rule tabulate_cross_path:
    input:
        reports=all_cross_path(),
    output:
        **table_files("cross_path", "cross path"),
    log:
        "results/logs/tabulate_cross_path.log",
    benchmark:
        "results/benchmarks/tabulate_cross_path.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("tabulate_cross_path.py", "report.yaml"),
    script:
        "../workflow_scripts/tabulate_cross_path.py"


rule tabulate_ablations:
    input:
        histories=all_histories(),
        reports=all_cross_path(),
        words=all_masked_words(),
        metrics=all_metrics(),
        embeddings=all_embeddings("metrics.json", models=MODELS, poolings=POOLINGS[:1]),
    output:
        **table_files("ablations", "ablations"),
        **figure_files("ablations", "ablations"),
    log:
        "results/logs/tabulate_ablations.log",
    benchmark:
        "results/benchmarks/tabulate_ablations.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        config=config,
        code=code_of("tabulate_ablations.py", "report.yaml"),
    script:
        "../workflow_scripts/tabulate_ablations.py"


rule plot_losses:
    input:
        histories=all_histories(),
    output:
        **figure_files("losses", "loss curves"),
    log:
        "results/logs/plot_losses.log",
    benchmark:
        "results/benchmarks/plot_losses.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("plot_losses.py", "report.yaml"),
    script:
        "../workflow_scripts/plot_losses.py"


rule plot_cross_attention:
    input:
        case_study(),
    output:
        **figure_files("cross_attention", "case study of cross layer 0"),
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


rule plot_tasks:
    input:
        metrics=all_metrics(),
        predictions=all_predictions(),
    output:
        **figure_files("tasks", "task results"),
    log:
        "results/logs/plot_tasks.log",
    benchmark:
        "results/benchmarks/plot_tasks.jsonl"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        models=list(MODELS),
        tasks=config["tasks"],
        code=code_of("plot_tasks.py", "report.yaml"),
    script:
        "../workflow_scripts/plot_tasks.py"


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
        config="results/config.yaml",
        tables=expand("results/tables/{name}.csv", name=TABLES),
        data=[
            *(["results/corpus"] if TRAINED_MODELS else []),
            "results/bpe/vocabulary",
            *expand("results/tasks/{task}", task=PREPARED_TASKS),
            *expand("results/collections/{collection}", collection=RETRIEVAL_TASKS),
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
        starts={name: task.start_from for name, task in TASKS.items() if task.start_from},
        sweeps=list(SWEEPS),
        code=code_of("record_provenance.py", "report.yaml"),
    script:
        "../workflow_scripts/record_provenance.py"


rule write_report:
    input:
        tables=expand("results/tables/{name}.md", name=TABLES),
        figures=expand("results/figures/{name}.svg", name=FIGURES),
        captions=[
            *expand(os.path.join(REPOSITORY, "report", "{name}.rst"), name=TABLES),
            *expand(os.path.join(REPOSITORY, "report", "{name}_figure.rst"), name=FIGURES),
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
