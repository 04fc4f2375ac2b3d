"""The GLUE submission: names, headers, label strings and row counts that the leaderboard takes."""

import zipfile
from pathlib import Path

import pytest

from cross_thought.config import load_files
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.predictions import SplitPredictions, read_predictions, write_predictions
from cross_thought.files import write_json
from cross_thought.tables.submission import SUBMISSION_FILES, choose_seeds, submission_text, write_submission
from tests.unit.synthetic import Results


def test_every_glue_test_set_has_a_file() -> None:
    glue = [task for task in TASKS.values() if f"{task.folder}/".startswith("glue/")]
    test_sets = {(task.name, split) for task in glue for split in task.splits if split.startswith("test")}
    assert set(SUBMISSION_FILES) == test_sets
    assert len(set(SUBMISSION_FILES.values())) == 11


@pytest.mark.parametrize("name", ["paper", "released"])
def test_a_full_run_has_what_a_submission_needs(name: str) -> None:
    tasks = load_files([Path(__file__).parents[3] / "config" / f"{name}.yaml"])["tasks"]
    assert {task for task, _ in SUBMISSION_FILES} <= tasks.keys()


def test_zip(shared_results: Results, tmp_path: Path) -> None:
    chosen = choose_seeds(shared_results.metrics, model="mlm")
    for name in ("a.zip", "b.zip"):
        faults = write_submission(tmp_path / name, chosen, tasks=shared_results.tasks, complete=False)
    assert [fault.split(" is missing")[0] for fault in faults] == [
        *("CoLA.tsv", "SST-2.tsv", "QNLI.tsv", "QQP.tsv", "WNLI.tsv", "AX.tsv")
    ]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    expected = {"MRPC.tsv": 1725, "STS-B.tsv": 1379, "MNLI-m.tsv": 9796, "MNLI-mm.tsv": 9847, "RTE.tsv": 3000}
    assert {name: len(text.splitlines()) - 1 for name, text in texts.items()} == expected
    for text in texts.values():
        lines = [line.split("\t") for line in text.splitlines()]
        assert lines[0] == ["index", "prediction"]
        assert [index for index, _ in lines[1:]] == [str(number) for number in range(len(lines) - 1)]
    rte = read_predictions(chosen["RTE"])["test"].predictions
    assert [line.split("\t")[1] for line in texts["RTE.tsv"].splitlines()[1:]] == rte
    assert set(rte) == {"entailment", "not_entailment"}


def test_scores_are_kept_in_range() -> None:
    rows = SplitPredictions(["0", "1", "2"], ["", "", ""], ["-0.2", "2.34567", "5.1"])
    assert submission_text(TASKS["STS-B"], rows) == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_the_best_seed_on_the_development_set_is_chosen(tmp_path: Path) -> None:
    values = {1: {"accuracy": 0.7, "f1": 0.7}, 2: {"accuracy": 0.8, "f1": 0.8}, 3: {"accuracy": 0.8, "f1": 0.8}}
    values[4] = {"accuracy": 0.9, "f1": None}
    for seed, metrics in values.items():
        (tmp_path / str(seed)).mkdir()
        splits = {"valid": {"num_examples": 1, "metrics": metrics}}
        document = {"model": "m", "task": "MRPC", "seed": seed, "splits": splits}
        write_json(tmp_path / str(seed) / "metrics.json", document)
    paths = [tmp_path / str(seed) / "metrics.json" for seed in (4, 3, 2, 1)]
    assert choose_seeds(paths, model="m") == {"MRPC": tmp_path / "2" / "predictions.tsv"}


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "predictions.tsv"
    write_predictions(path, {"test": SplitPredictions(["0"], [""], ["entailment"])})
    with pytest.raises(UserError, match=r"CoLA\.tsv is missing .*WNLI.*--config submission=incomplete"):
        write_submission(tmp_path / "x.zip", {"RTE": path}, tasks=TASKS)
    with pytest.raises(UserError, match=r"1 predictions for RTE \(test\), GLUE has 3000 rows"):
        write_submission(tmp_path / "x.zip", {"RTE": path}, tasks=TASKS)
    write_predictions(path, {"valid": SplitPredictions(["0"], [""], ["entailment"])})
    with pytest.raises(UserError, match="has no predictions for split test"):
        write_submission(tmp_path / "x.zip", {"RTE": path}, tasks=TASKS)
    with pytest.raises(UserError, match="no GLUE task among demo-match"):
        write_submission(tmp_path / "x.zip", {"demo-match": path}, tasks=TASKS)
    assert not (tmp_path / "x.zip").exists()


def test_an_incomplete_one_names_each_missing_file_and_each_wrong_row_count(tmp_path: Path) -> None:
    rte, cola = tmp_path / "rte.tsv", tmp_path / "cola.tsv"
    write_predictions(rte, {"test": SplitPredictions(["0", "1"], ["", ""], ["entailment", "not_entailment"])})
    write_predictions(cola, {"valid": SplitPredictions(["0"], ["1"], ["1"])})
    faults = write_submission(tmp_path / "x.zip", {"RTE": rte, "CoLA": cola}, tasks=TASKS, complete=False)
    assert len(faults) == len(SUBMISSION_FILES)
    assert f"CoLA.tsv is missing ({cola} has no predictions for split test)" in faults
    assert "SST-2.tsv is missing (task SST-2 is not in the config)" in faults
    assert f"{rte} has 2 predictions for RTE (test), GLUE has 3000 rows" in faults
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.read("RTE.tsv").decode() == "index\tprediction\n0\tentailment\n1\tnot_entailment\n"
    (tmp_path / "x.zip").unlink()
    with pytest.raises(UserError) as caught:
        write_submission(tmp_path / "x.zip", {"RTE": rte, "CoLA": cola}, tasks=TASKS)
    assert all(fault in str(caught.value) for fault in faults)
    assert not (tmp_path / "x.zip").exists()


def test_a_task_without_a_model_gets_the_seed_of_the_other(tmp_path: Path) -> None:
    for task, seed, splits in (
        ("MNLI", 1, {"valid": {"metrics": {"accuracy": 0.5}}}),
        ("MNLI", 2, {"valid": {"metrics": {"accuracy": 0.6}}}),
        ("AX", 1, {}),
        ("AX", 2, {}),
    ):
        write_json(
            tmp_path / task / f"seed-{seed}" / "metrics.json",
            {"model": "m", "task": task, "seed": seed, "splits": splits},
        )
    chosen = choose_seeds(sorted(tmp_path.glob("*/*/*.json")), model="m", evaluated_with={"AX": "MNLI"})
    assert chosen["AX"] == tmp_path / "AX" / "seed-2" / "predictions.tsv"
