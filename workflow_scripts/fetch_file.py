"""Fetch one file of the table of downloads, or one that a model names, of which nothing but the URL is known."""

from pathlib import Path

from cross_thought.data.download import DOWNLOADS_TABLE, Download, fetch, read_table
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        name = snakemake.wildcards.file
        known = read_table(DOWNLOADS_TABLE).get(name) or Download(name=name, url=snakemake.params.url)
        fetch(known, Path(snakemake.output[0].removesuffix(name)))
