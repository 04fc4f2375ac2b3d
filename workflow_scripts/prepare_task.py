"""Prepare a task: its splits in one plain format, checked."""

from pathlib import Path

from cross_thought.data.glue import prepare_task
from cross_thought.data.raw_files import missing_files, raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.files import report_source
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        params = snakemake.params
        task = task_from_config(snakemake.wildcards.task, params.entry, section=params.section)
        raw = raw_files(task, data_dir=params.data_dir)
        for file in raw.values():
            for path in file.inputs:
                report_source(path, data_dir=params.data_dir)
        for name in missing_files(task, data_dir=params.data_dir):
            print(f"data_dir {params.data_dir} has no {name}")
        prepare_task(task, raw, Path(snakemake.output[0]), max_train_examples=params.entry.get("max_train_examples"))
