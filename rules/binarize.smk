"""Binarization. In: arrays of BPE ids. Out: the corpus and the tasks as the binary files that fairseq trains on."""

# A stored sentence has no <s>, and the encoder puts its k slots in that place. The smallest model sets the bound, so
# that all models read the same text.
MAX_SENTENCE_TOKENS = min(model["num_positions"] + 1 - model["num_slots"] for model in MODELS.values())


rule binarize_corpus:
    input:
        encoded="results/bpe/corpus",
        vocabulary="results/bpe/vocabulary",
    output:
        directory("results/binarized/corpus"),
    log:
        "results/logs/binarize_corpus.log",
    benchmark:
        "results/benchmarks/binarize_corpus.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        code=code_of("binarize_corpus.py", "data.yaml"),
    script:
        "../workflow_scripts/binarize_corpus.py"


rule binarize_task:
    input:
        prepared="results/tasks/{task}",
        encoded="results/bpe/tasks/{task}",
        vocabulary="results/bpe/vocabulary",
    output:
        directory("results/binarized/tasks/{task}"),
    log:
        "results/logs/binarize_task/{task}.log",
    benchmark:
        "results/benchmarks/binarize_task/{task}.jsonl"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        entry=lambda wildcards: data_entry(wildcards.task),
        max_sentence_tokens=MAX_SENTENCE_TOKENS,
        code=code_of("binarize_task.py", "data.yaml"),
    script:
        "../workflow_scripts/binarize_task.py"
