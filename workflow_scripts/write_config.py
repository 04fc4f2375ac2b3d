"""Write the effective config: what the run really used, after overlays and defaults."""

from pathlib import Path

import yaml

from cross_thought.files import atomic_file
from cross_thought.jobs import logged_job


def write_config(config: dict, destination: Path) -> None:
    """Write a config as YAML, keys in their order."""
    with atomic_file(destination) as partial:
        partial.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        write_config(snakemake.params.config, Path(snakemake.output[0]))
