"""What the named targets are made of, as lists of paths, and the files of tables and figures. In: the config."""


def all_pretrained():
    """Return every pre-trained checkpoint."""
    return [pretrained_checkpoint(model, seed) for model in MODELS for seed in PRETRAINING_SEEDS]


def all_given():
    """Return every checkpoint that is given: those of the models that are not trained here."""
    return list(dict.fromkeys(given_checkpoint(MODELS[name]) for name in MODELS if name not in TRAINED_MODELS))


def all_binarized():
    """Return the binarized corpus, where a model is trained on it, and the binarized tasks."""
    corpus = ["results/binarized/corpus"] if TRAINED_MODELS else []
    return corpus + expand("results/binarized/tasks/{task}", task=TASKS)


# How the report names what it shows.
TABLE_LABELS = {
    "tasks": "task results",
    "sweeps": "sweeps",
    "embeddings": "embeddings",
    "mteb": "MTEB",
    "retrieval": "retrieval",
    "pretraining": "pre-training",
    "masked_words": "masked words",
    "cross_path": "cross path",
    "ablations": "ablations",
}
FIGURE_LABELS = TABLE_LABELS | {"losses": "loss curves", "cross_attention": "case study of cross layer 0"}


def table_files(name):
    """Return a table's outputs, by name: those that the report shows, and LaTeX."""

    def shown(ending, kind):
        labels = {"table": TABLE_LABELS[name], "format": kind}
        return report(
            f"results/tables/{name}.{ending}", caption=f"../report/{name}.rst", category="Tables", labels=labels
        )

    return {"csv": shown("csv", "CSV"), "markdown": shown("md", "Markdown"), "latex": f"results/tables/{name}.tex"}


def figure_files(name):
    """Return a figure's outputs, by name: what the report shows of it, and the same as pixels."""
    svg = report(
        f"results/figures/{name}.svg",
        caption=f"../report/{name}_figure.rst",
        category="Figures",
        labels={"figure": FIGURE_LABELS[name]},
    )
    return {"svg": svg, "png": f"results/figures/{name}.png"}


def table_outputs(name):
    """Return all that the job of a table writes: its files, and its figure's if it has one."""
    of_figures = [figure_files(figure) for figure, table in RESULTS.figures.items() if table == name]
    return table_files(name) | (of_figures[0] if of_figures else {})


def tables_of(names):
    """Return the files of a table, or of several."""
    return expand("results/tables/{name}.{ending}", name=names, ending=["csv", "md", "tex"])


def all_tables():
    """Return every table, every figure, the provenance of the numbers, and the page that shows all of it."""
    return [
        *tables_of(RESULTS.made_of),
        *expand("results/figures/{name}.{ending}", name=RESULTS.figures, ending=["svg", "png"]),
        "results/provenance.json",
        "results/report.html",
    ]


def embedding_tables():
    """Return the tables of embeddings as they are, as far as there are tasks."""
    ours = tables_of("embeddings") if EMBEDDING_TASKS else []
    return ours + (tables_of("mteb") if config["mteb_tasks"] else [])


def made(files, remedy):
    """Return an input: a target's files, of which there have to be some, for the target is asked for by its name."""

    def some(_):
        if not files:
            raise WorkflowError(f"the config has nothing for this target to make: {remedy}")
        return files

    return some


def all_submissions():
    """Return a GLUE submission for each model; none if no task is GLUE's."""
    glue = [task for task in TASKS.values() if (task.folder or "").startswith("glue/") and not task.selection]
    return expand("results/submissions/{model}.zip", model=MODELS) if glue else []


def all_exports():
    """Return the export of every pre-trained encoder; of a checkpoint that all seeds share, one."""
    return [f"results/exports/{model}/seed-{seed}" for model in ENCODERS for seed in RESULTS.seeds_of(model)]


def all_predictions():
    """Return the answers to rows without labels."""
    return expand("results/predict/{name}/predictions.tsv", name=config["predict"])


def all_archived():
    """Return the results and what their numbers are computed from."""
    return [*all_tables(), "results/config.yaml", *RESULTS.computed_from(), *all_predictions()]
