"""The workflow as a whole: it parses, plans, runs from raw text to tables, and refuses what is wrong before any job."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml

from cross_thought.config import load_config, load_files
from cross_thought.data.starts import starts_of
from cross_thought.data.tasks import TASKS
from cross_thought.training.checkpoints import load_checkpoint
from tests.workflow.conftest import REPOSITORY, TINY, run_snakemake
from workflow_scripts import finetune, pretrain


def test_everything_is_planned_once(tmp_path: Path) -> None:
    done = run_snakemake(tmp_path, "--dry-run", "--quiet", "rules", overlay=TINY)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("results/*"))


def test_all_that_is_optional_is_planned_together(tmp_path: Path) -> None:
    for name, text in {
        "q.tsv": "q1\thello\n",
        "p.tsv": "p1\thello\n",
        "r.txt": "q1 0 p1 1\n",
        "n.tsv": "a\tb\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    overlay = TINY | {
        "mteb_tasks": ["STSBenchmark"],
        "retrieval_tasks": {"mine": {"queries": "q.tsv", "passages": "p.tsv", "judgements": {"test": "r.txt"}}},
        "embedding_tuning": {"pairs": {"demo-match": {}}},
        "finetuning": {"num_epochs": 1, "learning_rate": [1e-3, 1e-4]},
        "predict": {"new": {"files": "n.tsv", "task": "demo-match", "model": "mlm"}},
        "tracking": "tensorboard",
        "hardware": {"device": "cuda"},
    }
    done = run_snakemake(tmp_path, "--dry-run", "all", "archive", "exports", "predict", overlay=overlay)
    assert done.returncode == 0, done.stderr[-3000:]
    planned = set(re.findall(r"^rule (\w+):$", done.stdout + done.stderr, flags=re.MULTILINE))
    optional = {
        "evaluate_mteb",
        "search_collection",
        "tune_embeddings",
        "choose_setting",
        "archive_run",
        "predict_rows",
    }
    assert planned >= optional | {"export_encoder"}


OWN_STS = """
from datasets import Dataset, DatasetDict
from mteb.mocks.mock_tasks.sts import MockSTSTask


class OwnSTS(MockSTSTask):
    def load_data(self, **_):
        first = ["the barn burns", "he owns a pony", "she works as a baker", "the ice breaks"]
        second = ["the barn burns now", "a pony is his", "the mill stands still", "she bakes"]
        rows = {"sentence1": first, "sentence2": second, "score": [5, 4, 1, 0]}
        self.dataset, self.data_loaded = DatasetDict(test=Dataset.from_dict(rows)), True
"""


def test_mteb_scores_a_model_of_the_workflow(clone: Path) -> None:
    (clone / "own_tasks.py").write_text(OWN_STS, encoding="utf-8")
    own = ("--config", "mteb_tasks=[own_tasks.py]")
    planned = run_snakemake(clone, "embeddings", "--dry-run", *own, overlay=TINY)
    assert len(jobs(planned.stdout + planned.stderr, "evaluate_mteb")) == 2 * 2
    one = TINY | {"models": {"mlm": {"cross_sequence": False}}, "control": None, "seeds": [1]}
    done = run_snakemake(clone, "results/provenance.json", *own, overlay=one)
    assert done.returncode == 0, done.stderr[-3000:]
    target = "results/mteb/mlm/mean/seed-1/scores.json"
    scores = json.loads((clone / target).read_text(encoding="utf-8"))
    assert (scores["model"], scores["seed"], list(scores["tasks"])) == ("mlm", 1, ["MockSTSTask"])
    (number,) = (
        number
        for number in json.loads((clone / "results/provenance.json").read_text(encoding="utf-8"))["numbers"]
        if number["table"] == "mteb" and number["figure"] == "mean"
    )
    assert number["value"] == pytest.approx(100 * scores["tasks"]["MockSTSTask"]["score"], rel=1e-5)
    assert number["sources"] == [target]


def test_numbers_inside_of_values_on_the_command_line_are_numbers(tmp_path: Path) -> None:
    values = ("seeds=[5, 6]", "finetuning={num_epochs: 2, keep_checkpoints: true}")
    done = run_snakemake(tmp_path, "--dry-run", "finetune", "--config", *values, overlay=TINY)
    assert done.returncode == 0, done.stderr
    planned = jobs(done.stdout + done.stderr, "finetune_kept_task")
    assert {re.search(r"seed=(\d)", job)[1] for job in planned} == {"5", "6"}


@pytest.mark.parametrize(
    ("target", "remedy"),
    [("submission", "list a task of GLUE under tasks"), ("predict", "say under predict which rows")],
)
def test_a_target_with_nothing_to_make_is_refused(target: str, remedy: str, tmp_path: Path) -> None:
    done = run_snakemake(tmp_path, target, "--dry-run")
    assert done.returncode != 0
    assert f"the config has nothing for this target to make: {remedy}" in done.stdout + done.stderr


def config_of(overlay: str) -> dict:
    """Return a config that ships, with what it is laid over."""
    if overlay.startswith("captions-"):
        return load_files(REPOSITORY / "config" / name for name in ("captions.yaml", overlay))
    return yaml.safe_load((REPOSITORY / "config" / overlay).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return what tells what a dry run of a config that ships prints; each is planned once."""

    @cache
    def planned(overlay: str) -> str:
        directory, config = tmp_path_factory.mktemp("planned"), config_of(overlay)
        for place in starts_of(config.get("models") or {}).values():  # what runs before it leaves there
            (directory / place).parent.mkdir(parents=True, exist_ok=True)
            (directory / place).touch()
        done = run_snakemake(directory, "--dry-run", overlay=config)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    return planned


@pytest.mark.parametrize("overlay", sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml")))
def test_overlays_plan(overlay: str, plan: Callable[[str], str]) -> None:
    if "{data_dir}" in (REPOSITORY / "config" / overlay).read_text(encoding="utf-8"):
        pytest.skip("needs files of one's own")
    assert plan(overlay)


def jobs(planned: str, rule: str) -> list[str]:
    """Return the description of each planned job of a rule."""
    return re.findall(rf"^rule {rule}:\n((?:    .*\n)+)", planned, flags=re.MULTILINE)


def test_the_papers_run_is_planned_as_published(plan: Callable[[str], str]) -> None:
    planned = plan("paper.yaml")
    pretraining, finetuning = jobs(planned, "pretrain_model"), jobs(planned, "finetune_task")
    assert len(pretraining) == 2
    assert {re.search("wildcards: (.*)", job)[1] for job in pretraining} == {
        "model=cross_thought, seed=1",
        "model=mlm, seed=1",
    }
    assert len(finetuning) == 2 * 10 * 5
    assert all("gpu=1" in job for job in [*pretraining, *finetuning])
    config = load_config(yaml.safe_load((REPOSITORY / "config/paper.yaml").read_text()))
    flags, control = (
        pretrain.training_flags(config["models"][model], seed=1, hardware=config["hardware"])
        for model in ("cross_thought", "mlm")
    )
    published = {
        "--arch": "cross_thought_base",
        "--encoder-layers": "12",
        "--encoder-embed-dim": "768",
        "--encoder-ffn-embed-dim": "3072",
        "--encoder-attention-heads": "12",
        "--num-slots": "5",
        "--segment-length": "64",
        "--num-positions": "512",
        "--sample-break-mode": "none",
        "--tokens-per-sample": "32000",
        "--batch-size": "1",
        "--update-freq": "16",
        "--mask-prob": "0.15",
        "--leave-unmasked-prob": "0.1",
        "--random-token-prob": "0.1",
        "--optimizer": "adam",
        "--adam-betas": "(0.9, 0.98)",
        "--adam-eps": "1e-06",
        "--weight-decay": "0.01",
        "--clip-norm": "0.0",
        "--lr-scheduler": "polynomial_decay",
        "--lr": "0.0005",
        "--warmup-updates": "10000",
        "--total-num-update": "125000",
        "--max-update": "125000",
        "--save-interval-updates": "5000",
        "--dropout": "0.1",
        "--attention-dropout": "0.1",
        "--init-std": "0.02",
    }
    assert {name: flags[flags.index(name) + 1] for name in published} == published
    assert "--fp16" in flags
    assert [flag for flag in control if flag not in flags] == ["--no-cross-sequence"]


def test_the_released_checkpoint_is_planned_without_pretraining(plan: Callable[[str], str]) -> None:
    planned = plan("released.yaml")
    assert "pretrain_model" not in planned
    finetuning = jobs(planned, "finetune_task")
    assert len(finetuning) == 9 * 5
    assert all("gpu=1" in job and "results/downloads/checkpoints/cross_thought.pt" in job for job in finetuning)


def keys(config: dict, prefix: str = "") -> set[str]:
    """Return the dotted names of all values in a config; a model or a task is one value."""
    names = set()
    for name, value in config.items():
        is_group = isinstance(value, dict) and prefix + name not in ("models", "tasks", "embedding_tasks")
        names |= keys(value, f"{prefix}{name}.") if is_group else {prefix + name}
    return names


def test_the_papers_run_takes_nothing_from_the_demo_that_shapes_a_result() -> None:
    demo, paper = (yaml.safe_load((REPOSITORY / path).read_text()) for path in ("config.yaml", "config/paper.yaml"))
    assert demo["embedding_tuning"]["pairs"] == {}  # nothing is tuned by default
    assert keys(demo) - keys(paper) == {
        *(f"embedding_tuning.{key}" for key in demo["embedding_tuning"] if key != "pairs"),
        *("data_dir", "corpus.format", "corpus.files", "corpus.demo_documents", "corpus.demo_seed", "bpe.vocab_size"),
        *("model_defaults.source", "model_defaults.location", "model_defaults.pretraining.extra_args"),
        *("corpus.lines", "corpus.text_field"),  # of own text, as its format and files are
        *("finetuning.keep_checkpoints", "finetuning.extra_args", "ablation", "submission", "tracking"),
        *("archive.max_data_mb", "mteb_tasks", "model_defaults.pretraining.patience"),
        "model_defaults.cross_layers",  # of no use without a start
    }


@pytest.mark.parametrize(("overlay", "model"), [("released.yaml", "released"), ("paper.yaml", "cross_thought")])
def test_fine_tuning_is_as_published_whatever_the_demo_does(overlay: str, model: str) -> None:
    config = load_config(yaml.safe_load((REPOSITORY / "config" / overlay).read_text()))
    for name, rate, updates, warmup in (("RTE", 2e-05, 2036, 122), ("QQP", 1e-05, 113272, 28318)):
        settings = finetune.finetuning_settings(TASKS[name], config["finetuning"], config["tasks"][name])
        flags = finetune.training_flags(
            TASKS[name], model=config["models"][model], settings=settings, seed=3, hardware=config["hardware"]
        )
        line = f"--lr {rate} --warmup-updates {warmup} --total-num-update {updates} --max-epoch 10 --dropout 0.0"
        assert line in " ".join(flags)
        assert "--max-tokens 4400" in " ".join(flags)
        assert "--weight-decay 0.1" in " ".join(flags)
        assert {"--fp16", "finetune"} <= set(flags)


def test_tables_have_every_model_task_and_metric(tiny_run: Path) -> None:
    rows = list(csv.DictReader((tiny_run / "results/tables/tasks.csv").open()))
    found = {(row["model"], row["task"], row["metric"]) for row in rows}
    for model in ("cross_thought", "mlm"):
        assert {(model, "demo-match", "accuracy"), (model, "demo-job", "accuracy")} <= found
        assert {(model, "demo-overlap", "pearson"), (model, "demo-overlap", "spearman")} <= found
    markdown = (tiny_run / "results/tables/tasks.md").read_text()
    assert "cross_thought" in markdown
    pretraining = list(csv.DictReader((tiny_run / "results/tables/pretraining.csv").open()))
    assert {(row["model"], row["seed"]) for row in pretraining} == {
        (model, seed) for model in ("cross_thought", "mlm") for seed in ("1", "2")
    }


def test_embeddings_are_evaluated_without_fine_tuning(tiny_run: Path) -> None:
    results = tiny_run / "results"
    rows = list(csv.DictReader((results / "tables/embeddings.csv").open()))
    found = {(row["model"], row["task"], row["metric"], row["seeds"]) for row in rows}
    for model, seeds in (("cross_thought", "1 2"), ("mlm", "1 2"), ("tf-idf", ""), ("chance", "")):
        assert {(model, "demo-overlap", metric, seeds) for metric in ("spearman", "pearson")} <= found
        assert {(model, "demo-find", metric, seeds) for metric in ("accuracy@1", "mrr", "recall@10")} <= found
    assert "demo-find (valid), retrieval: 216 queries" in (results / "tables/embeddings.md").read_text()
    assert "Embeddings without fine-tuning" in (results / "report.html").read_text()
    numbers = json.loads((results / "provenance.json").read_text())["numbers"]
    (number,) = [
        number
        for number in numbers
        if (number["table"], number["model"], number.get("task")) == ("embeddings", "mlm", "demo-match")
        and (number["metric"], number["figure"]) == ("mrr", "mean")
    ]
    assert number["sources"] == [f"results/embeddings/mlm/demo-match/mean/seed-{seed}/pairs.tsv" for seed in (1, 2)]
    assert number["runs"] == [f"results/pretrain/mlm/seed-{seed}" for seed in (1, 2)]


def test_every_declared_result_is_there(tiny_run: Path) -> None:
    results = tiny_run / "results"
    for path in (
        *("figures/losses.svg", "figures/losses.png", "figures/cross_attention.svg", "tables/cross_path.md"),
        *("config.yaml", "report.html"),
    ):
        assert (results / path).stat().st_size > 0
    provenance = json.loads((results / "provenance.json").read_text())
    assert provenance["numbers"]
    effective = yaml.safe_load((results / "config.yaml").read_text())
    assert effective["corpus"]["demo_documents"] == 300
    assert effective["models"]["mlm"]["cross_sequence"] is False


def test_verify_passes_and_names_a_changed_prediction(tiny_run: Path, tmp_path: Path) -> None:
    results = shutil.copytree(tiny_run / "results", tmp_path / "results")
    command = [sys.executable, "-m", "cross_thought.tables.verify", str(results)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "all agree" in done.stdout
    path = results / "evaluate/mlm/demo-match/seed-2/predictions.tsv"
    lines = path.read_text().split("\n")
    fields = lines[1].split("\t")
    fields[3] = "entailment" if fields[3] == "not_entailment" else "not_entailment"
    path.write_text("\n".join([lines[0], "\t".join(fields), *lines[2:]]))
    pairs = results / "embeddings/cross_thought/demo-overlap/mean/seed-1/pairs.tsv"
    header, first, *rest = pairs.read_text().splitlines()
    pairs.write_text("\n".join([header, first.rpartition("\t")[0] + "\t-0.75", *rest]) + "\n")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tasks.csv: model, mlm, demo-match, valid, accuracy: mean: the file says" in done.stderr
    assert "demo-overlap/mean/seed-1/metrics.json: splits: valid: metrics: pearson: the file says" in done.stderr
    assert (
        "embeddings.csv: model, cross_thought, mean, demo-overlap, valid, pearson: mean: the file says" in done.stderr
    )


def test_a_task_starts_from_another_with_a_fresh_head(tiny_run: Path) -> None:
    results = tiny_run / "results"
    command = json.loads((results / "finetune/mlm/demo-job/seed-1/command.json").read_text())["argv"]
    restored = Path(command[command.index("--restore-file") + 1])
    assert (restored.parents[1].name, restored.name) == ("runs", "demo-match-without-head.pt")
    start, end = (
        load_checkpoint(results / f"finetune/mlm/{task}/seed-1/best.pt")["model"] for task in ("demo-match", "demo-job")
    )
    pretrained = load_checkpoint(results / "pretrain/mlm/seed-1/model.pt")["model"]
    weight = "encoder.sentence_encoder.embed_tokens.weight"
    assert (end[weight] - start[weight]).norm() < (end[weight] - pretrained[weight]).norm()
    assert not (results / "finetune/mlm/demo-overlap/seed-1/best.pt").exists()
    note = "demo-job: started from the model fine-tuned on demo-match"
    assert note in (results / "tables/tasks.md").read_text()


def test_progress_is_in_the_training_log(tiny_run: Path) -> None:
    log = (tiny_run / "results/logs/pretrain_model/mlm/seed-1.log").read_text()
    assert "update 6/6 (100 %)" in log
    assert "updates/s" in log
    assert "valid loss" in log


def test_a_second_run_has_nothing_to_do(tiny_run: Path) -> None:
    assert "Nothing to be done" in (tiny_run / "second-run.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"corpse": {}}, "unknown key 'corpse' at the top level; did you mean corpus?"),
        ({"tasks": {"RTEE": {}}}, "tasks.RTEE is unknown"),
        ({"data_dir": "no/such/folder"}, "data_dir is 'no/such/folder', which is no folder"),
        ({"model_defaults": {"segment_length": 64}}, "does not fit num_positions"),
        ({"corpus": {"source": "files", "files": {"train": ["gone.txt"]}}}, "'gone.txt', which is no file"),
    ],
)
def test_a_wrong_config_is_refused_before_any_job(overlay: dict, message: str, tmp_path: Path) -> None:
    done = run_snakemake(tmp_path, overlay=overlay)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
