"""Embeddings without fine-tuning. In: pre-trained checkpoints, prepared pairs. Out: each pair scored, with metrics."""

OF_MODEL = "results/embeddings/{{model}}/{task}/{pooling}/seed-{{seed}}/{file}"
OF_WORDS = [evaluation for evaluation in RESULTS.embedding_evaluations() if evaluation[0] not in ENCODERS]

if EMBEDDING_TASKS:

    # One job for all tasks: it starts and loads the model once, which takes longer than most tasks do.
    rule embed_tasks:
        input:
            checkpoint=lambda wildcards: encoder_path(wildcards.model, wildcards.seed),
            vocabulary="results/bpe/vocabulary",
            prepared=expand("results/tasks/{task}", task=EMBEDDING_TASKS),
        output:
            pairs=expand(OF_MODEL, task=EMBEDDING_TASKS, pooling=POOLINGS, file="pairs.tsv"),
            metrics=expand(OF_MODEL, task=EMBEDDING_TASKS, pooling=POOLINGS, file="metrics.json"),
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
            pairs=RESULTS.of_evaluations("embeddings", OF_WORDS, "pairs.tsv"),
            metrics=RESULTS.of_evaluations("embeddings", OF_WORDS, "metrics.json"),
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
