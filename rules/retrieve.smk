"""Retrieval over collections. In: queries, passages, judgements, encoders. Out: runs as TREC's files, with metrics.

Embeddings of a collection are deleted once it is searched. Runs stay: to score them anew takes seconds, so that other
metrics must not prepare or search anything anew (`unsearched`, `unscored`). Params are dicts: Snakemake does not see that
an object of a class of ours has changed.
"""

if RETRIEVAL_TASKS:

    rule prepare_collection:
        input:
            lambda wildcards: sorted(set(RETRIEVAL_TASKS[wildcards.collection].inputs)),
        output:
            directory("results/collections/{collection}"),
        log:
            "results/logs/prepare_collection/{collection}.log",
        benchmark:
            "results/benchmarks/prepare_collection/{collection}.jsonl"
        conda:
            "../envs/data.yaml"
        threads: 1
        resources:
            mem_mb=growing(4000),
            runtime=growing(120),
        params:
            task=lambda wildcards: vars(RETRIEVAL_TASKS[wildcards.collection].unsearched),
            code=code_of("prepare_collection.py", "data.yaml"),
        script:
            "../workflow_scripts/prepare_collection.py"

    rule embed_collection:
        input:
            checkpoint=lambda wildcards: encoder_path(wildcards.model, wildcards.seed),
            vocabulary="results/bpe/vocabulary",
            prepared="results/collections/{collection}",
        output:
            [
                temp(directory(f"results/retrieval/{{model}}/{{collection}}/{pooling}/seed-{{seed}}/embeddings"))
                for pooling in POOLINGS
            ],
        log:
            "results/logs/embed_collection/{model}/{collection}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/embed_collection/{model}/{collection}/seed-{seed}.jsonl"
        conda:
            TRAINING_ENV
        threads: config["hardware"]["threads"]
        resources:
            **gpus(),
            mem_mb=growing(8000),
            runtime=growing(12 * 60),
        params:
            poolings=POOLINGS,
            precision=lambda wildcards: RETRIEVAL_TASKS[wildcards.collection].precision,
            device=config["hardware"]["device"],
            code=code_of("embed_collection.py", TRAINING_ENV),
        script:
            "../workflow_scripts/embed_collection.py"

    rule search_collection:
        input:
            embeddings="results/retrieval/{model}/{collection}/{pooling}/seed-{seed}/embeddings",
            prepared="results/collections/{collection}",
        output:
            run="results/retrieval/{model}/{collection}/{pooling}/seed-{seed}/run.trec",
            counts="results/retrieval/{model}/{collection}/{pooling}/seed-{seed}/counts.json",
        log:
            "results/logs/search_collection/{model}/{collection}/{pooling}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/search_collection/{model}/{collection}/{pooling}/seed-{seed}.jsonl"
        conda:
            "../envs/search.yaml"
        threads: config["hardware"]["threads"]
        resources:
            mem_mb=growing(8000),
            runtime=growing(4 * 60),
        params:
            task=lambda wildcards: vars(RETRIEVAL_TASKS[wildcards.collection].unscored),
            code=code_of("search_collection.py", "search.yaml"),
        script:
            "../workflow_scripts/search_collection.py"

    rule search_words:
        input:
            prepared="results/collections/{collection}",
        output:
            run="results/retrieval/bm25/{collection}/run.trec",
        log:
            "results/logs/search_words/{collection}.log",
        benchmark:
            "results/benchmarks/search_words/{collection}.jsonl"
        conda:
            "../envs/report.yaml"
        threads: 1
        resources:
            mem_mb=growing(8000),
            runtime=growing(4 * 60),
        params:
            task=lambda wildcards: vars(RETRIEVAL_TASKS[wildcards.collection].unscored),
            code=code_of("search_words.py", "report.yaml"),
        script:
            "../workflow_scripts/search_words.py"

    rule score_retrieval:
        input:
            runs=RESULTS.retrieval("run.trec"),
            prepared=expand("results/collections/{collection}", collection=RETRIEVAL_TASKS),
        output:
            RESULTS.retrieval("metrics.json"),
        log:
            "results/logs/score_retrieval.log",
        benchmark:
            "results/benchmarks/score_retrieval.jsonl"
        conda:
            "../envs/report.yaml"
        threads: 1
        resources:
            mem_mb=growing(4000),
            runtime=growing(60),
        params:
            runs=RESULTS.retrieval_evaluations(),
            tasks=RETRIEVAL_TASKS,
            code=code_of("score_retrieval.py", "report.yaml"),
        script:
            "../workflow_scripts/score_retrieval.py"
