"""Write the ablations as CSV, Markdown and LaTeX, and draw them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.data.tasks import embedding_tasks_of, tasks_of
from cross_thought.jobs import logged_job
from cross_thought.tables.ablations import ablation_page, factors_of, read_ablation_rows
from cross_thought.tables.figures import plot_ablations
from cross_thought.tables.layout import markdown, write_table


def tabulate_ablations(
    config: dict,
    *,
    histories: Sequence[Path],
    cross_path_reports: Sequence[Path],
    masked_words: Sequence[Path],
    metrics: Sequence[Path],
    embeddings: Sequence[Path],
    files: Mapping[str, str],
) -> None:
    """Compute the rows once, lay them out and draw them.

    Args:
        config: the effective config, with an ablation.
        histories: loss curves of every pre-training.
        cross_path_reports: every report on the cross path.
        masked_words: every `words.tsv`.
        metrics: every `metrics.json` of fine-tuned models.
        embeddings: those of embeddings as they are, by the first of the config's poolings.
        files: the paths to write, as `csv`, `markdown` and `latex`, and to draw, as `svg` and `png`.
    """
    rows = read_ablation_rows(
        factors_of(config),
        histories=histories,
        cross_path_reports=cross_path_reports,
        masked_words=masked_words,
        metrics=metrics,
        tasks=tasks_of(config["tasks"]),
        embeddings=embeddings,
        embedding_tasks=embedding_tasks_of(config),
    )
    page = ablation_page(rows, demo=config["corpus"]["source"] == "demo")
    write_table(rows, page, files=files)
    plot_ablations(rows, [Path(files["svg"]), Path(files["png"])])
    print(markdown(page))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_ablations(
            snakemake.params.config,
            histories=[Path(path) for path in snakemake.input.histories],
            cross_path_reports=[Path(path) for path in snakemake.input.reports],
            masked_words=[Path(path) for path in snakemake.input.words],
            metrics=[Path(path) for path in snakemake.input.metrics],
            embeddings=[Path(path) for path in snakemake.input.embeddings],
            files=dict(snakemake.output.items()),
        )
