"""Byte-level BPE. In: prepared text. Out: the vocabulary with fairseq's dictionary, and all text as arrays of BPE ids."""

if config["bpe"]["source"] == "train":

    rule train_bpe:
        input:
            "results/corpus",
        output:
            directory("results/bpe/vocabulary"),
        log:
            "results/logs/train_bpe.log",
        benchmark:
            "results/benchmarks/train_bpe.jsonl"
        conda:
            "../envs/data.yaml"
        threads: 4
        resources:
            mem_mb=growing(8000),
            runtime=growing(4 * 60),
        params:
            vocab_size=config["bpe"]["vocab_size"],
            code=code_of("train_bpe.py", "data.yaml"),
        script:
            "../workflow_scripts/train_bpe.py"

else:

    rule copy_gpt2_bpe:
        input:
            **{key: own_or_download_path(name) for key, name in GPT2_FILES.items()},
        output:
            directory("results/bpe/vocabulary"),
        log:
            "results/logs/copy_gpt2_bpe.log",
        benchmark:
            "results/benchmarks/copy_gpt2_bpe.jsonl"
        conda:
            "../envs/data.yaml"
        threads: 1
        resources:
            mem_mb=growing(1000),
            runtime=growing(10),
        params:
            code=code_of("copy_gpt2_bpe.py", "data.yaml"),
        script:
            "../workflow_scripts/copy_gpt2_bpe.py"


rule encode_corpus:
    input:
        corpus="results/corpus",
        vocabulary="results/bpe/vocabulary",
    output:
        directory("results/bpe/corpus"),
    log:
        "results/logs/encode_corpus.log",
    benchmark:
        "results/benchmarks/encode_corpus.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=growing(2000),
        runtime=growing(4 * 60),
    params:
        code=code_of("encode_corpus.py", "data.yaml"),
    script:
        "../workflow_scripts/encode_corpus.py"


rule encode_task:
    input:
        task="results/tasks/{task}",
        vocabulary="results/bpe/vocabulary",
    output:
        directory("results/bpe/tasks/{task}"),
    log:
        "results/logs/encode_task/{task}.log",
    benchmark:
        "results/benchmarks/encode_task/{task}.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code_of("encode_task.py", "data.yaml"),
    script:
        "../workflow_scripts/encode_task.py"
