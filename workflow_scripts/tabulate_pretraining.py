"""Write how each pre-training ended, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.jobs import logged_job
from cross_thought.tables.layout import write_table
from cross_thought.tables.pretraining import pretraining_page, read_pretraining_rows


def tabulate_pretraining(
    histories: Sequence[str],
    *,
    cuts: Sequence[str] = (),
    starts: Mapping[str, str] | None = None,
    files: Mapping[str, str],
) -> None:
    """Write how each pre-training ended.

    Args:
        histories: every `history.tsv`; the `command.json` beside each is read, too.
        cuts: the values that `segment_by` has in the models.
        starts: model -> its `initialize_from`, of those that have one.
        files: the paths to write, as `csv`, `markdown` and `latex`.
    """
    rows = read_pretraining_rows(histories)
    write_table(rows, pretraining_page(rows, cuts=cuts, starts=starts), files=files)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_pretraining(
            snakemake.input.histories,
            cuts=snakemake.params.cuts,
            starts=snakemake.params.starts,
            files=dict(snakemake.output.items()),
        )
