"""The registry of tasks, tasks of one's own, and where raw files are looked for."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cross_thought.config import check_registry
from cross_thought.data.definitions import METRICS, AnswerSelection, ranking_metric
from cross_thought.data.download import read_table
from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.raw_files import RawFile, missing_files, raw_files
from cross_thought.data.tasks import (
    PAIRS,
    REGISTRY,
    REGISTRY_FILE,
    TASKS,
    task_from_config,
    tasks_of,
)
from cross_thought.errors import UserError
from cross_thought.yaml_text import read_yaml

OWN = {
    "files": {"train": "a.tsv", "valid": "b.tsv", "test": "c.tsv"},
    "input_columns": [1, 2],
    "label_column": 3,
    "labels": ["no", "yes"],
    "metrics": ["f1", "accuracy"],
}
ANSWERS = {"files": OWN["files"], "input_columns": [1, 2, 3, 4], "label_column": 5}
DOWNLOADS = read_table(Path(__file__).parents[3] / "resources" / "downloads.tsv")


def test_the_registry_has_glue_snli_the_demo_and_the_captions() -> None:
    assert list(TASKS) == [
        *("CoLA", "SST-2", "MRPC", "QQP", "STS-B", "MNLI", "QNLI", "RTE", "QNLI-answers"),
        *("WikiQA", "TREC-QA", "Quasar-T", "HotpotQA", "WNLI", "AX", "SNLI", "SICK-R"),
        *("demo-match", "demo-overlap", "demo-job", "demo-answer", "captions-same", "captions-pick"),
    ]
    for task in TASKS.values():
        assert task.selection or set(task.metrics) <= set(METRICS)
        if task.selection and task.num_sentences == 0:  # a row is a candidate, and the data say how many there are
            assert (task.labels, len(task.splits["train"].input_columns)) == ((), 2)
            assert all(ranking_metric(metric) for metric in task.metrics)
            assert set(task.downloads) <= set(DOWNLOADS)
            continue
        assert task.is_regression == (task.metrics == ("pearson", "spearman"))
        if task.name == "QNLI-answers":  # rows of a question and one candidate; the test set has no labels to group by
            assert (set(task.splits), task.num_sentences, len(task.labels)) == ({"train", "valid"}, 9, 8)
            continue
        assert ({"train", "valid", "test"} if task.name != "AX" else {"test"}) <= set(task.splits)
        assert all(len(split.input_columns) == task.num_sentences for split in task.splits.values())
        assert set(task.downloads) <= set(DOWNLOADS)


def test_the_metrics_are_glues() -> None:
    assert {name: TASKS[name].metrics for name in ("CoLA", "MRPC", "QQP", "STS-B", "RTE")} == {
        "CoLA": ("matthews",),
        "MRPC": ("accuracy", "f1"),
        "QQP": ("accuracy", "f1"),
        "STS-B": ("pearson", "spearman"),
        "RTE": ("accuracy",),
    }
    assert [name for name, task in TASKS.items() if not task.in_average] == [
        *("QNLI-answers", "WikiQA", "TREC-QA", "Quasar-T", "HotpotQA", "WNLI", "AX", "SNLI", "SICK-R")
    ]


def test_the_entries_that_ship_are_held_against_the_schema() -> None:
    entries = read_yaml(REGISTRY_FILE)  # no key twice
    assert entries == REGISTRY
    check_registry(entries)
    assert {split.download for task in TASKS.values() for split in task.splits.values()} <= {None, *DOWNLOADS}
    wrong = entries | {"RTE": entries["RTE"] | {"header": "yes"}}
    with pytest.raises(UserError, match=r"tasks.yaml: RTE.header is 'yes'; it must be true or false"):
        check_registry(wrong)
    with pytest.raises(UserError, match=r"tasks.yaml: RTE.batch_size is a list: give the published value"):
        check_registry(entries | {"RTE": entries["RTE"] | {"batch_size": [16]}})


def test_an_own_task_may_say_all_that_one_that_ships_says() -> None:
    """The same keys, one reader: an entry of the registry under another name is the same task."""
    for name, entry in REGISTRY.items():
        section = "tasks" if name in TASKS else "embedding_tasks"
        task = task_from_config(f"my-{name}", entry, section=section)
        assert replace(task, name=name) == (TASKS | PAIRS)[name]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"AX": {}}, "tasks.AX.evaluated_with is 'MNLI', which is no task that is fine-tuned here: add it to tasks"),
        ({"AX": {"evaluated_with": "RTE"}, "RTE": {}}, "tasks.AX.evaluated_with is 'RTE', whose labels"),
        ({"AX": {}, "MNLI": {"evaluated_with": "SNLI"}, "SNLI": {}}, "which is no task that is fine-tuned here"),
        ({"AX": {"num_epochs": 3}, "MNLI": {}}, "tasks.AX.num_epochs: AX is not fine-tuned; say it of MNLI"),
        ({"AX": {"start_from": "RTE"}, "MNLI": {}, "RTE": {}}, "tasks.AX.start_from: AX is not fine-tuned"),
        ({"AX": {}, "MNLI": {}, "RTE": {"start_from": "AX"}}, "tasks.RTE.start_from is 'AX', which is evaluated with"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tasks: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        tasks_of(tasks)


def test_a_task_without_a_model_of_its_own_needs_no_train_file() -> None:
    entry = {"files": {"test": "hans.tsv"}, "input_columns": [1, 2], "label_column": 3, "evaluated_with": "MNLI"}
    labels = {"labels": ["entailment", "neutral", "contradiction"]}
    tasks = tasks_of({"MNLI": {}, "hans": entry | labels})
    assert set(tasks["hans"].splits) == {"test"}
    assert tasks["hans"].splits["test"].labels_optional


def test_files_that_lack_below_data_dir_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "glue" / "RTE"
    folder.mkdir(parents=True)
    assert missing_files(TASKS["RTE"], data_dir=str(tmp_path)) == []
    (folder / "train.tsv").touch()
    assert missing_files(TASKS["RTE"], data_dir=str(tmp_path)) == ["glue/RTE/dev.tsv", "glue/RTE/test.tsv"]
    (tmp_path / "glue" / "RTE.zip").touch()
    assert missing_files(TASKS["RTE"], data_dir=str(tmp_path)) == []


def test_before_a_job_tasks_need_yaml_alone() -> None:
    code = "import sys; from cross_thought.data import tasks, raw_files, corpus, download; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "fairseq", "numpy", "pandas", "pyarrow", "requests", "gdown", "datasets"} & set(loaded)


def test_an_entry_overrides_the_defaults_and_may_switch_the_row_check_off() -> None:
    task = task_from_config("RTE", {"learning_rate": 3e-5, "num_epochs": 3, "check_rows": False})
    settings = finetuning_settings(task, {"num_epochs": 10}, {"learning_rate": 3e-5, "num_epochs": 3})
    assert [settings[key] for key in ("learning_rate", "batch_size", "num_epochs")] == [3e-5, 16, 3]
    assert all(split.expected_rows is None for split in task.splits.values())
    assert task_from_config("RTE", None) == TASKS["RTE"]


def test_a_task_of_ones_own() -> None:
    task = task_from_config("mine", OWN)
    assert (task.labels, task.metrics, task.num_sentences) == (("no", "yes"), ("f1", "accuracy"), 2)
    assert task.splits["train"].label_column == 3
    assert (task.splits["test"].label_column, task.splits["test"].labels_optional) == (3, True)
    regression = task_from_config("mine", OWN | {"labels": None, "metrics": None, "score_scale": 5})
    assert regression.is_regression
    assert (regression.metrics, regression.best_metric, regression.score_scale) == (
        ("pearson", "spearman"),
        "loss",
        5.0,
    )
    assert raw_files(task, data_dir=None)["valid"] == RawFile(path="b.tsv")


@pytest.mark.parametrize(
    ("changes", "updates", "warmup"),
    [
        ({}, 2036, 122),
        ({"batch_size": 16, "learning_rate": 1e-5}, 2036, 122),
        ({"warmup_updates": 10}, 2036, 10),
        ({"batch_size": 32}, None, None),
        ({"num_epochs": 3}, None, None),
        ({"max_train_examples": 100}, None, None),
        ({"num_epochs": 3, "warmup_updates": 10}, None, 10),
        ({"num_updates": 100}, 100, None),
        ({"num_epochs": 3, "num_updates": 100, "warmup_updates": 10}, 100, 10),
    ],
)
@pytest.mark.parametrize("section", ["finetuning", "task"])
def test_a_published_schedule_goes_with_the_published_batches_and_what_is_said_goes_before_it(
    section: str, changes: dict, updates: int | None, warmup: int | None
) -> None:
    config, entry = ({"num_epochs": 10} | changes, {}) if section == "finetuning" else ({"num_epochs": 10}, changes)
    settings = finetuning_settings(task_from_config("RTE", entry), config, entry)
    assert (settings["num_updates"], settings["warmup_updates"]) == (updates, warmup)


def test_answer_selection_of_ones_own() -> None:
    task = task_from_config("mine", ANSWERS)
    assert (task.labels, task.metrics, task.num_sentences) == (("1", "2", "3"), ("accuracy", "mrr"), 4)
    assert task.selection == AnswerSelection(num_candidates=3)
    entry = {"metrics": None, "right_label": "yes", "num_candidates": 5, "fill_candidates": True}
    task = task_from_config("mine", OWN | entry)
    assert (task.file_labels, task.num_sentences) == (("no", "yes"), 6)
    assert task.selection.fill
    assert task_from_config("QNLI-answers", {"num_candidates": 4}).num_sentences == 5
    task = task_from_config("mine", OWN | {"right_label": "yes", "metrics": ["map", "raw_full_recall@2"]})
    assert (task.labels, task.num_sentences, task.is_regression) == ((), 0, False)
    assert task.with_sentences(4) == replace(task, labels=("1", "2", "3"), num_sentences=4)


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("RTEE", {}, "tasks.RTEE is unknown: choose from CoLA"),
        ("RTE", {"labels": ["a", "b"]}, "tasks.RTE.labels belongs to a task of your own, which also needs `files`"),
        ("mine", OWN | {"files": {"train": "a"}}, "tasks.mine.files lacks `valid`"),
        ("mine", OWN | {"score_scale": 5}, "tasks.mine.score_scale is 5, but the task has labels: leave it out"),
        (
            "mine",
            OWN | {"ignored_labels": ["-", "no"]},
            "tasks.mine.ignored_labels has 'no', which is one of its labels",
        ),
        ("mine", OWN | {"no_label": "yes"}, "tasks.mine.no_label has 'yes', which is one of its labels: take it out"),
        ("mine", OWN | {"input_columns": []}, "tasks.mine.input_columns is missing"),
        ("mine", OWN | {"input_columns": [1, 2, 4]}, "tasks.mine.labels is of no use with 3 input_columns"),
        ("mine", OWN | {"num_candidates": 4}, "tasks.mine.num_candidates needs `right_label`"),
        (
            "mine",
            OWN | {"right_label": "yes", "fill_candidates": True},
            "tasks.mine.fill_candidates needs num_candidates",
        ),
        ("mine", ANSWERS | {"question_id_column": 6}, "tasks.mine.question_id_column needs `right_label`"),
        ("mine", OWN | {"drop_unusable": True}, "tasks.mine.drop_unusable needs `right_label`"),
        (
            "mine",
            ANSWERS | {"metrics": ["recall"]},
            "tasks.mine.metrics has 'recall': choose from accuracy, mrr, map, and",
        ),
        (
            "mine",
            ANSWERS | {"metrics": ["ndcg@0"]},
            "tasks.mine.metrics has 'ndcg@0': choose from accuracy, mrr, map, and",
        ),
        ("mine", OWN | {"right_label": "maybe", "num_candidates": 4}, "'maybe', which is none of its labels"),
        ("mine", OWN | {"right_label": "yes", "input_columns": [1]}, "tasks.mine.input_columns names 1 columns"),
        ("mine", ANSWERS | {"metrics": ["f1"]}, "tasks.mine.metrics has 'f1': choose from accuracy, mrr"),
        ("demo-answer", {"num_candidates": 3}, "tasks.demo-answer.num_candidates belongs to a task of your own"),
        ("mine", OWN | {"label_column": None}, "tasks.mine.label_column is missing"),
        ("mine", OWN | {"label_column": "label", "header": False}, "'label' but has `header: false`"),
        (
            "mine",
            OWN | {"labels": ["a", "b", "c"]},
            "tasks.mine.metrics has 'f1', which is for two labels, not 3: choose",
        ),
        ("mine", OWN | {"input_columns": [1, 1]}, "tasks.mine.input_columns names the column 1 twice"),
        ("mine", OWN | {"labels": ["a", "a"]}, "tasks.mine.labels ['a', 'a'] must be two or more different labels"),
        ("mine", OWN | {"labels": ["a", "<s>"]}, "tasks.mine.labels has '<s>', which cannot be a label"),
        (
            "mine",
            OWN | {"metrics": ["pearson"]},
            "tasks.mine.metrics has 'pearson': choose from accuracy, f1, matthews",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(name: str, entry: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        task_from_config(name, entry)


def test_own_files_go_before_downloads(tmp_path: Path) -> None:
    own = tmp_path / "glue" / "RTE" / "train.tsv"
    own.parent.mkdir(parents=True)
    own.touch()
    found = raw_files(TASKS["RTE"], data_dir=str(tmp_path))
    assert found["train"] == RawFile(path=str(own))
    assert found["valid"] == RawFile(path="results/downloads/glue/RTE.zip", member="RTE/dev.tsv")
    archive = tmp_path / "glue" / "RTE.zip"
    archive.touch()
    assert raw_files(TASKS["RTE"], data_dir=str(tmp_path))["test"] == RawFile(path=str(archive), member="RTE/test.tsv")
    assert raw_files(TASKS["SNLI"], data_dir=None)["train"] == RawFile(
        path="results/downloads/snli_1.0.zip", member="snli_1.0/snli_1.0_train.txt"
    )


def test_mrpc_is_cut_from_its_sources_where_all_of_them_are_at_hand(tmp_path: Path) -> None:
    folder = tmp_path / "glue" / "MRPC"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        (folder / name).touch()
    assert raw_files(TASKS["MRPC"], data_dir=str(tmp_path))["train"] == RawFile(path=str(folder / "train.tsv"))
    for name in TASKS["MRPC"].downloads:
        (tmp_path / name).touch()
    assert raw_files(TASKS["MRPC"], data_dir=str(tmp_path))["valid"] == RawFile(
        path=str(folder / "msr_paraphrase_train.txt"), ids_path=str(folder / "dev_ids.tsv"), keep_ids=True
    )


def test_a_task_without_train_data_is_not_taken_from_the_task_that_answers_it_in_silence() -> None:
    assert task_from_config("AX", {}).evaluated_with == "MNLI"
    with pytest.raises(UserError, match=r"tasks.AX.files lacks `train`"):
        task_from_config("AX", {"evaluated_with": None})
