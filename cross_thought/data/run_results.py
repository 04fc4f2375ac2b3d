"""The results of a whole run: the files that its tables are made of, and which tables and figures there are.

The workflow makes them by this, and `verify` finds them by it again. Needs yaml alone.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from cross_thought.data.definitions import BM25
from cross_thought.data.demo import SEGMENT_LENGTH as DEMO_SEGMENT_LENGTH
from cross_thought.data.embedding_tasks import embedding_tasks_of, poolings_of
from cross_thought.data.pairs import tuned_place
from cross_thought.data.retrieval_tasks import retrieval_tasks_of
from cross_thought.data.sweeps import grids_of
from cross_thought.data.tasks import tasks_of
from cross_thought.environment import REPOSITORY

# what of the effective config the tables of a run depend on, and what it says where results were made without the key
_OPTIONAL: dict[str, Any] = {
    "finetuning": {},
    "control": None,
    "ablation": {},
    "embedding": {"pooling": "mean"},
    "embedding_tasks": {},
    "embedding_tuning": {"pairs": {}},
    "mteb_tasks": [],
    "retrieval_tasks": {},
}
CONFIG_KEYS = ("models", "seeds", "pretraining_seed", "corpus", "tasks", *_OPTIONAL)

# tables with published figures, and the file of resources/ that has them
PUBLISHED = {"tasks": "reference_results", "embeddings": "reference_embeddings"}

# model, task or collection, pooling, seed; the last two None for what needs no training
Evaluation = tuple[str, str, str | None, int | None]


class RunResults:
    """What an effective config says of results; a UserError says that a task of it is unknown or incomplete.

    Attributes:
        config: the config, or what `CONFIG_KEYS` are of it.
        folder: the results folder. All paths are strings that begin with it.
        published: by table, the file of published figures.
        tasks, embedding_tasks, retrieval_tasks: by name.
        sweeps: task -> setting's name -> setting, of the tasks that have several.
        trained_models: those that are pre-trained here.
        tuned_models: of each model tuned on pairs, by the name that paths have for it, the model and the pairs.
        encoders: the names in paths of all that embed, the models' first.
    """

    def __init__(
        self, config: Mapping[str, Any], folder: Path | str = "results", *, workflow: Path = REPOSITORY
    ) -> None:
        self.config = _OPTIONAL | dict(config)
        self.folder = str(folder)
        self.published = {table: str(workflow / "resources" / f"{stem}.tsv") for table, stem in PUBLISHED.items()}
        self.models = list(config["models"])
        self.seeds: list[int] = config["seeds"]
        self.tasks = tasks_of(config["tasks"])
        self.sweeps = grids_of(self.tasks, self.config)
        self.embedding_tasks = embedding_tasks_of(self.config)
        self.retrieval_tasks = retrieval_tasks_of(self.config)
        self.poolings = poolings_of(self.config)
        self.trained_models = [name for name, model in config["models"].items() if model["source"] == "pretrain"]
        shared = config["pretraining_seed"]
        self.pretraining_seeds = self.seeds if shared == "each" else [shared]
        pairs = self.config["embedding_tuning"]["pairs"]
        self.tuned_models = {tuned_place(model, name): (model, name) for name, model in product(pairs, self.models)}
        self.encoders = [*self.models, *self.tuned_models]

    def seeds_of(self, encoder: str) -> list[int]:
        """Return the seeds of a model's pre-trainings, or of its tuning; a given checkpoint is under the first seed."""
        if encoder in self.tuned_models:
            return self.seeds
        return self.pretraining_seeds if encoder in self.trained_models else self.pretraining_seeds[:1]

    # files of every training or evaluation of a kind

    def histories(self) -> list[str]:
        """Return the loss curves of every pre-training."""
        return self._of_pretrainings("pretrain/{}/seed-{}/history.tsv", self.trained_models)

    def masked_words(self) -> list[str]:
        """Return what each model that is trained here makes of masked words of held-out documents."""
        return self._of_pretrainings("masked_words/{}/seed-{}/words.tsv", self.trained_models)

    def cross_path(self) -> list[str]:
        """Return what the cross path carries in each model that it can be told of.

        Only the demo's text has known answers, and a segment of more than one of its sentences tells them itself.
        """
        lengths = {name: self.config["models"][name]["segment_length"] for name in self.trained_models}
        told = [name for name, length in lengths.items() if length <= DEMO_SEGMENT_LENGTH]
        is_demo = self.config["corpus"]["source"] == "demo"
        return self._of_pretrainings("cross_path/{}/seed-{}.json", told if is_demo else [])

    def case_study(self) -> list[str]:
        """Return the case study of cross layer 0: of the first model that is trained here and has it, if any."""
        models = [name for name in self.trained_models if self.config["models"][name]["cross_sequence"]]
        return self._of_pretrainings("cross_attention/{}/seed-{}.json", models)[:1]

    def _of_pretrainings(self, place: str, models: Iterable[str]) -> list[str]:
        return [f"{self.folder}/{place.format(*run)}" for run in product(models, self.pretraining_seeds)]

    def evaluations(self, name: str) -> list[str]:
        """Return a file of each fine-tuned model's evaluation."""
        runs = product(self.models, self.tasks, self.seeds)
        return [f"{self.folder}/evaluate/{model}/{task}/seed-{seed}/{name}" for model, task, seed in runs]

    def choices(self) -> list[str]:
        """Return which setting each model takes, of each task that has several."""
        runs = product(self.models, self.sweeps)
        return [f"{self.folder}/finetune/{model}/{task}/choice.json" for model, task in runs]

    def settings(self) -> list[str]:
        """Return the predictions of every setting of every sweep."""
        return [
            self.of_setting(model, task, setting, seed)
            for task, settings in self.sweeps.items()
            for model, setting, seed in product(self.models, settings, self.seeds)
        ]

    def of_setting(self, model: str, task: str, setting: str, seed: int) -> str:
        """Return the predictions of one setting of a sweep."""
        return f"{self.folder}/evaluate/{model}/{task}/{setting}/seed-{seed}/predictions.tsv"

    def embeddings(self, name: str) -> list[str]:
        """Return a file of each evaluation of embeddings, ours and then those that need no training."""
        return self.of_evaluations("embeddings", self.embedding_evaluations(), name)

    def retrieval(self, name: str) -> list[str]:
        """Return a file of each search of a collection, ours and then those that need no training."""
        return self.of_evaluations("retrieval", self.retrieval_evaluations(), name)

    def embedding_evaluations(self) -> list[Evaluation]:
        """Return what is evaluated on pairs."""
        others = [(method, name, None, None) for name, task in self.embedding_tasks.items() for method in task.lexical]
        return self._of_encoders(self.embedding_tasks) + others

    def retrieval_evaluations(self) -> list[Evaluation]:
        """Return what is searched."""
        return self._of_encoders(self.retrieval_tasks) + [(BM25, name, None, None) for name in self.retrieval_tasks]

    def _of_encoders(self, tasks: Iterable[str]) -> list[Evaluation]:
        names = list(tasks)
        return [
            (encoder, task, pooling, seed)
            for encoder in self.encoders
            for seed, task, pooling in product(self.seeds_of(encoder), names, self.poolings)
        ]

    def of_evaluations(self, stage: str, evaluations: Iterable[Evaluation], name: str) -> list[str]:
        """Return a file of each of these, below the folder of a stage."""
        return [
            "/".join([self.folder, stage, model, task, *([pooling, f"seed-{seed}"] if pooling else []), name])
            for model, task, pooling, seed in evaluations
        ]

    def mteb_scores(self) -> list[str]:
        """Return the scores that mteb gives every model."""
        return [
            f"{self.folder}/mteb/{encoder}/{pooling}/seed-{seed}/scores.json"
            for encoder in self.encoders
            for pooling, seed in product(self.poolings, self.seeds_of(encoder))
            if self.config["mteb_tasks"]
        ]

    # tables

    @cached_property
    def made_of(self) -> dict[str, list[str]]:
        """The files that each table is made of; a table that has none is not made."""
        files = {
            "tasks": self.evaluations("metrics.json") + self.evaluations("predictions.tsv"),
            "sweeps": self.choices(),
            "embeddings": self.embeddings("metrics.json"),
            "mteb": self.mteb_scores(),
            "retrieval": self.retrieval("metrics.json"),
            "pretraining": self.histories(),
            "masked_words": self.masked_words(),
            "cross_path": self.cross_path(),
            "ablations": self._made_of_ablations() if self.config["ablation"] else [],
        }
        return {table: of_table for table, of_table in files.items() if of_table}

    def ablated_embeddings(self) -> list[str]:
        """Return the evaluations of embeddings that ablations are told by: of pre-trained models, by one pooling."""
        evaluations = [
            evaluation
            for evaluation in self.embedding_evaluations()
            if evaluation[0] in self.models and evaluation[2] == self.poolings[0]
        ]
        return self.of_evaluations("embeddings", evaluations, "metrics.json")

    def _made_of_ablations(self) -> list[str]:
        files = [*self.histories(), *self.cross_path(), *self.masked_words(), *self.evaluations("metrics.json")]
        return files + self.ablated_embeddings()

    @property
    def figures(self) -> dict[str, str]:
        """The figures, with the table that each belongs to, or `""`."""
        figures = {"tasks": "tasks", "losses": "pretraining", "masked_words": "masked_words", "ablations": "ablations"}
        made = {figure: table for figure, table in figures.items() if table in self.made_of}
        return made | ({"cross_attention": ""} if self.case_study() else {})

    def computed_from(self) -> list[str]:
        """Return all that tables and figures are computed from."""
        files = {file for of_table in self.made_of.values() for file in of_table}
        files |= {*self.settings(), *self.embeddings("pairs.tsv"), *self.retrieval("run.trec"), *self.case_study()}
        return sorted(files)
