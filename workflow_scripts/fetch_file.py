"""Fetch one file of the table of downloads, or one model's checkpoint."""

from pathlib import Path

from cross_thought.data.download import DOWNLOADS_TABLE, Download, fetch, read_table
from cross_thought.jobs import logged_job


def fetch_file(name: str, *, url: str, folder: Path) -> Path:
    """Fetch a file; one that the table does not know has a URL alone.

    Args:
        name: its path below the downloads folder.
        url: where it is.
        folder: the downloads folder.
    """
    return fetch(read_table(DOWNLOADS_TABLE).get(name) or Download(name=name, url=url), folder)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        name = snakemake.wildcards.file
        fetch_file(name, url=snakemake.params.url, folder=Path(snakemake.output[0].removesuffix(name)))
