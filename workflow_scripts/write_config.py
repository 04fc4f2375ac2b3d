"""Write the effective config: what the run really used, after overlays and defaults, keys in their order."""

from pathlib import Path

import yaml

from cross_thought.files import atomic_file
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]), atomic_file(Path(snakemake.output[0])) as partial:
        text = yaml.safe_dump(snakemake.params.config, sort_keys=False, allow_unicode=True)
        partial.write_text(text, encoding="utf-8")
