"""Archives. In: the results, what they are computed from, Snakemake's records of the jobs. Out: one zip, an RO-Crate."""

from snakemake import __version__ as snakemake_version

from cross_thought.environment import commit
from cross_thought.sources import workflow_hash


rule archive_run:
    input:
        all_archived(),
    output:
        "results/archive.zip",
    log:
        "results/logs/archive_run.log",
    benchmark:
        "results/benchmarks/archive_run.jsonl"
    conda:
        "../envs/archive.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        max_data_mb=config["archive"]["max_data_mb"],
        engine_version=snakemake_version,
        workflow=lambda wildcards: [workflow_hash(Path(REPOSITORY)), *commit()],
        code=code_of("archive_run.py", "archive.yaml"),
    script:
        "../workflow_scripts/archive_run.py"
