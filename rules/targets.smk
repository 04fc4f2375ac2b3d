"""What the named targets and the tables are made of, as lists of paths. In: the config and its models."""


def all_pretrained():
    """Return every pre-trained checkpoint."""
    return [pretrained_checkpoint(model, seed) for model in MODELS for seed in PRETRAINING_SEEDS]


def all_histories():
    """Return the loss curves of every pre-training."""
    return expand("results/pretrain/{model}/seed-{seed}/history.tsv", model=TRAINED_MODELS, seed=PRETRAINING_SEEDS)


def all_evaluations(name):
    """Return one file of every evaluation."""
    return expand(f"results/evaluate/{{model}}/{{task}}/seed-{{seed}}/{name}", model=MODELS, task=TASKS, seed=SEEDS)


def all_metrics():
    """Return the metrics of every evaluation."""
    return all_evaluations("metrics.json")


def all_predictions():
    """Return the predictions of every evaluation."""
    return all_evaluations("predictions.tsv")


def seeds_of(model):
    """Return the seeds of a model's pre-trainings; of a checkpoint that is given there is one, under the first seed.

    Of a tuned model, those of the tuning.
    """
    if model in TUNED_MODELS:
        return SEEDS
    return PRETRAINING_SEEDS if model in TRAINED_MODELS else PRETRAINING_SEEDS[:1]


def all_embeddings(name, models=ENCODERS, poolings=POOLINGS):
    """Return one file of every evaluation of embeddings."""
    return [
        f"results/embeddings/{model}/{task}/{pooling}/seed-{seed}/{name}"
        for model in models
        for seed in seeds_of(model)
        for task in EMBEDDING_TASKS
        for pooling in poolings
    ]


def model_embeddings(name):
    """Return one file of a model's evaluations: of each task, and of each pooling."""
    place = f"results/embeddings/{{{{model}}}}/{{task}}/{{pooling}}/seed-{{{{seed}}}}/{name}"
    return expand(place, task=EMBEDDING_TASKS, pooling=POOLINGS)


def lexical_embeddings(name):
    """Return one file of each evaluation of what needs no training."""
    return [
        f"results/embeddings/{method}/{task.name}/{name}"
        for task in EMBEDDING_TASKS.values()
        for method in task.lexical
    ]


def all_mteb_scores():
    """Return the scores that mteb gives every model."""
    if not config["mteb_tasks"]:
        return []
    return [
        f"results/mteb/{model}/{pooling}/seed-{seed}/scores.json"
        for model in ENCODERS
        for pooling in POOLINGS
        for seed in seeds_of(model)
    ]


def retrieval_runs():
    """Return each run over a collection: model, collection, pooling and seed; BM25 has neither of the last two."""
    ours = [
        (model, collection, pooling, seed)
        for model in ENCODERS
        for seed in seeds_of(model)
        for collection in RETRIEVAL_TASKS
        for pooling in POOLINGS
    ]
    return ours + [("bm25", collection, None, None) for collection in RETRIEVAL_TASKS]


def all_retrieval(name):
    """Return one file of every run over a collection."""
    return [
        f"results/retrieval/{model}/{collection}/" + (f"{pooling}/seed-{seed}/{name}" if pooling else name)
        for model, collection, pooling, seed in retrieval_runs()
    ]


def all_binarized():
    """Return the binarized corpus, where a model is trained on it, and the binarized tasks."""
    corpus = ["results/binarized/corpus"] if TRAINED_MODELS else []
    return corpus + expand("results/binarized/tasks/{task}", task=TASKS)


def all_cross_path():
    """Return what the cross path carries in each model that it can be told of.

    Only the demo's text has known answers, and a segment of more than one of its sentences tells them itself.
    """
    if config["corpus"]["source"] != "demo":
        return []
    models = [name for name in TRAINED_MODELS if MODELS[name]["segment_length"] <= DEMO_SEGMENT_LENGTH]
    return expand("results/cross_path/{model}/seed-{seed}.json", model=models, seed=PRETRAINING_SEEDS)


def all_masked_words():
    """Return what each model trained here makes of masked words of held-out documents."""
    return expand("results/masked_words/{model}/seed-{seed}/words.tsv", model=TRAINED_MODELS, seed=PRETRAINING_SEEDS)


def case_study():
    """Return the case study of cross layer 0, in a list: of the first model trained here that has it, if any."""
    models = [name for name in TRAINED_MODELS if MODELS[name]["cross_sequence"]]
    return [f"results/cross_attention/{models[0]}/seed-{PRETRAINING_SEEDS[0]}.json"] if models else []


def all_choices():
    """Return what each model's setting is, of each task with a sweep."""
    return expand("results/finetune/{model}/{task}/choice.json", model=MODELS, task=SWEEPS)


def all_settings():
    """Return the predictions of every setting of every sweep."""
    return [
        SETTING_PREDICTIONS.format(model=model, task=task, setting=setting, seed=seed)
        for task, settings in SWEEPS.items()
        for model in MODELS
        for setting in settings
        for seed in SEEDS
    ]


# A table is made where the config has something for it: no pre-training of our own, no row.
TABLES = [
    "tasks",
    *(["sweeps"] if SWEEPS else []),
    *(["embeddings"] if EMBEDDING_TASKS else []),
    *(["mteb"] if all_mteb_scores() else []),
    *(["retrieval"] if RETRIEVAL_TASKS else []),
    *(["pretraining"] if all_histories() else []),
    *(["masked_words"] if all_masked_words() else []),
    *(["cross_path"] if all_cross_path() else []),
    *(["ablations"] if config["ablation"] else []),
]


FIGURES = [
    "tasks",
    *(["losses"] if all_histories() else []),
    *(["masked_words"] if all_masked_words() else []),
    *(["cross_attention"] if case_study() else []),
    *(["ablations"] if config["ablation"] else []),
]


def table_files(name, label):
    """Return a table's outputs, by name: those that the report shows under a label, and LaTeX."""

    def shown(ending, kind):
        about = {"caption": f"../report/{name}.rst", "category": "Tables", "labels": {"table": label, "format": kind}}
        return report(f"results/tables/{name}.{ending}", **about)

    return {"csv": shown("csv", "CSV"), "markdown": shown("md", "Markdown"), "latex": f"results/tables/{name}.tex"}


def figure_files(name, label):
    """Return a figure's outputs, by name: what the report shows of it under a label, and the same as pixels."""
    svg = report(
        f"results/figures/{name}.svg",
        caption=f"../report/{name}_figure.rst",
        category="Figures",
        labels={"figure": label},
    )
    return {"svg": svg, "png": f"results/figures/{name}.png"}


def all_tables():
    """Return every table, every figure, the provenance of the numbers, and the page that shows all of it."""
    return [
        *expand("results/tables/{name}.{ending}", name=TABLES, ending=["csv", "md", "tex"]),
        *expand("results/figures/{name}.{ending}", name=FIGURES, ending=["svg", "png"]),
        "results/provenance.json",
        "results/report.html",
    ]


def all_submissions():
    """Return a GLUE submission for each model; none if no task is GLUE's."""
    glue = [task for task in TASKS.values() if (task.folder or "").startswith("glue/") and not task.selection]
    return expand("results/submissions/{model}.zip", model=MODELS) if glue else []


def all_exports():
    """Return the export of every pre-trained encoder; of a checkpoint that all seeds share, one."""
    return [f"results/exports/{model}/seed-{seed}" for model in ENCODERS for seed in seeds_of(model)]


def all_archived():
    """Return the results and what their numbers are computed from."""
    return [
        *all_tables(),
        "results/config.yaml",
        *all_metrics(),
        *all_predictions(),
        *all_choices(),
        *all_settings(),
        *(path for name in ("metrics.json", "pairs.tsv") for path in all_embeddings(name) + lexical_embeddings(name)),
        *(path for name in ("metrics.json", "run.trec") for path in all_retrieval(name)),
        *all_mteb_scores(),
        *all_histories(),
        *all_masked_words(),
        *all_cross_path(),
        *case_study(),
        *expand("results/predict/{name}/predictions.tsv", name=config["predict"]),
    ]
