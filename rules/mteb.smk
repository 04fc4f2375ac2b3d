"""Embeddings by the library mteb. In: checkpoints. Out: scores of each model, pooling and seed."""

if config["mteb_tasks"]:

    rule evaluate_mteb:
        input:
            checkpoint=lambda wildcards: encoder_path(wildcards.model, wildcards.seed),
            vocabulary="results/bpe/vocabulary",
            files=[name for name in config["mteb_tasks"] if name.endswith(".py")],
        output:
            "results/mteb/{model}/{pooling}/seed-{seed}/scores.json",
        log:
            "results/logs/evaluate_mteb/{model}/{pooling}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/evaluate_mteb/{model}/{pooling}/seed-{seed}.jsonl"
        conda:
            "../envs/mteb.yaml"
        threads: config["hardware"]["threads"]
        resources:
            **gpus(),
            mem_mb=growing(16000),
            runtime=growing(24 * 60),
        params:
            tasks=config["mteb_tasks"],
            device=config["hardware"]["device"],
            code=code_of("evaluate_mteb.py", "mteb.yaml"),
        script:
            "../workflow_scripts/evaluate_mteb.py"
