"""Embeddings without fine-tuning. In: pre-trained checkpoints, prepared pairs. Out: each pair scored, with metrics."""

if EMBEDDING_TASKS:

    # One job for all tasks: it starts and loads the model once, which takes longer than most tasks do.
    rule embed_tasks:
        input:
            checkpoint=lambda wildcards: encoder_path(wildcards.model, wildcards.seed),
            vocabulary="results/bpe/vocabulary",
            prepared=expand("results/tasks/{task}", task=EMBEDDING_TASKS),
        output:
            pairs=model_embeddings("pairs.tsv"),
            metrics=model_embeddings("metrics.json"),
        log:
            "results/logs/embed_tasks/{model}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/embed_tasks/{model}/seed-{seed}.jsonl"
        conda:
            TRAINING_ENV
        threads: config["hardware"]["threads"]
        resources:
            **gpus(),
            mem_mb=growing(8000),
            runtime=growing(60),
        params:
            tasks=list(EMBEDDING_TASKS.values()),
            poolings=POOLINGS,
            device=config["hardware"]["device"],
            code=code_of("embed_tasks.py", TRAINING_ENV),
        script:
            "../workflow_scripts/embed_tasks.py"

    rule embed_words:
        input:
            prepared=expand("results/tasks/{task}", task=EMBEDDING_TASKS),
        output:
            pairs=lexical_embeddings("pairs.tsv"),
            metrics=lexical_embeddings("metrics.json"),
        log:
            "results/logs/embed_words.log",
        benchmark:
            "results/benchmarks/embed_words.jsonl"
        conda:
            "../envs/report.yaml"
        threads: 1
        resources:
            mem_mb=growing(8000),
            runtime=growing(60),
        params:
            tasks=list(EMBEDDING_TASKS.values()),
            folder=lambda wildcards, output: str(Path(output.metrics[0]).parents[2]),
            code=code_of("embed_words.py", "report.yaml"),
        script:
            "../workflow_scripts/embed_words.py"

    rule tabulate_embeddings:
        input:
            metrics=all_embeddings("metrics.json"),
            lexical=lexical_embeddings("metrics.json"),
            references=os.path.join(REPOSITORY, "resources", "reference_embeddings.tsv"),
        output:
            **table_files("embeddings", "embeddings"),
        log:
            "results/logs/tabulate_embeddings.log",
        benchmark:
            "results/benchmarks/tabulate_embeddings.jsonl"
        conda:
            "../envs/report.yaml"
        threads: 1
        resources:
            mem_mb=growing(1000),
            runtime=growing(10),
        params:
            models=[shown_name(model) for model in ENCODERS],
            tasks=list(EMBEDDING_TASKS.values()),
            code=code_of("tabulate_embeddings.py", "report.yaml"),
        script:
            "../workflow_scripts/tabulate_embeddings.py"
