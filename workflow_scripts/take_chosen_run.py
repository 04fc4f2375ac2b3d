"""Copy the run of the setting that was chosen, of one seed, to where a task without a sweep has its own."""

import shutil
from pathlib import Path

from cross_thought.evaluation.choice import chosen_setting, setting_and_seed
from cross_thought.files import atomic_file
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        chosen = chosen_setting(Path(snakemake.input.choice))
        for kind, place in snakemake.output.items():
            (source,) = (path for path in snakemake.input.get(kind) if setting_and_seed(Path(path))[0] == chosen)
            with atomic_file(Path(place)) as partial:
                shutil.copyfile(source, partial)
            print(f"{place}: {source}")
