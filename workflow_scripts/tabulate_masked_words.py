"""Write what the other segments tell of masked words, as CSV, Markdown and LaTeX, and draw it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.jobs import logged_job
from cross_thought.tables.figures import plot_masked_words
from cross_thought.tables.layout import markdown, write_table
from cross_thought.tables.masked_words import masked_words_page, read_masked_words_rows


def tabulate_masked_words(words: Sequence[Path], *, files: Mapping[str, str]) -> None:
    """Summarise the masked words of each model over its seeds.

    Args:
        words: every `words.tsv`.
        files: the paths to write, as `csv`, `markdown` and `latex`, and to draw, as `svg` and `png`.
    """
    rows = read_masked_words_rows(words)
    page = masked_words_page(rows)
    write_table(rows, page, files=files)
    plot_masked_words(rows, [Path(files["svg"]), Path(files["png"])])
    print(markdown(page))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_masked_words([Path(path) for path in snakemake.input.words], files=dict(snakemake.output.items()))
