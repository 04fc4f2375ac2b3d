"""Tables recomputed from predictions: agreement on fresh results, and the name of each number that was changed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cross_thought.data.run_results import RunResults
from cross_thought.errors import UserError
from cross_thought.files import file_hash
from cross_thought.tables.provenance import assemble
from cross_thought.tables.verify import left_over, main, table_numbers
from tests.unit.synthetic import Results, make_results, tabulate


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results with all their tables, written by the workflow's scripts."""
    results = make_results(tmp_path_factory.mktemp("verify") / "results")
    tabulate(results, results.folder / "tables")
    return results


@pytest.fixture
def tabulated(made_once: Results, tmp_path: Path) -> Results:
    """A copy of them for a test to change."""
    return replace(made_once, folder=shutil.copytree(made_once.folder, tmp_path / "results"))


def test_fresh_tables_agree(made_once: Results, capsys: pytest.CaptureFixture) -> None:
    assert main([str(made_once.folder)]) == 0
    assert "all agree" in capsys.readouterr().out


def test_one_changed_prediction_is_named(tabulated: Results, capsys: pytest.CaptureFixture) -> None:
    path = tabulated.folder / "evaluate/mlm/RTE/seed-2/predictions.tsv"
    lines = path.read_text().split("\n")
    split, index, label, prediction, *scores = lines[1].split("\t")
    assert split == "valid"
    other = {"entailment": "not_entailment", "not_entailment": "entailment"}[prediction]
    lines[1] = "\t".join([split, index, label, other, *scores])
    path.write_text("\n".join(lines))

    assert main([str(tabulated.folder)]) == 1
    said = capsys.readouterr().err
    assert "evaluate/mlm/RTE/seed-2/metrics.json: splits: valid: metrics: accuracy: the file says" in said
    assert "tables/tasks.csv: model, mlm, RTE, valid, accuracy: mean: the file says" in said
    assert "tasks.md: line" in said
    assert "MRPC" not in said.split("tasks.md")[0]


def change(path: Path, old: str, new: str) -> None:
    """Replace text in a file, once."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_what_a_model_starts_from_is_verified(tabulated: Results, capsys: pytest.CaptureFixture) -> None:
    path = tabulated.folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["models"]["mlm"]["initialize_from"] = "roberta.base"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    assert main([str(tabulated.folder)]) == 1
    said = capsys.readouterr().err
    assert "are those since: `mlm` from `roberta.base`." in said
    assert {line.split("tables/")[1].split(":")[0] for line in said.splitlines()[:-1]} == {
        "pretraining.md",
        "pretraining.tex",
    }


def test_a_changed_table_is_named(tabulated: Results, capsys: pytest.CaptureFixture) -> None:
    tables = tabulated.folder / "tables"
    change(tables / "pretraining.csv", "900", "901")
    change(tables / "pretraining.md", " 900 ", " 901 ")
    wrong = [n for n in table_numbers(tabulated.run, "pretraining", {}) if not n.agrees]
    assert [n.place.split("tables/")[1] for n in wrong] == [
        "pretraining.csv: cross_thought, 1: updates",
        "pretraining.md: line 5",
    ]
    assert str(wrong[0]).endswith("the file says 901, recomputed 900")
    change(tables / "ablations.csv", "cross_sequence,off,mlm,,cross_path,18", "cross_sequence,off,mlm,,cross_path,19")
    assert main([str(tabulated.folder)]) == 1
    said = capsys.readouterr().err
    assert "ablations.csv: cross_sequence, mlm, , cross_path: mean: the file says 19, recomputed 18" in said
    change(tables / "cross_path.csv", "mlm,bypassed,18", "mlm,bypassed,19")
    wrong = [n for n in table_numbers(tabulated.run, "cross_path", {}) if not n.agrees]
    assert [str(n).split("tables/")[1] for n in wrong] == [
        "cross_path.csv: mlm, bypassed: mean: the file says 19, recomputed 18"
    ]


def test_a_row_that_is_missing_or_too_much_is_named(tabulated: Results) -> None:
    path = tabulated.folder / "tables/cross_path.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *rows[1:], "mlm,on,1,,1,1,1,1,1"]) + "\n")
    wrong = [str(n).split("tables/")[1] for n in table_numbers(tabulated.run, "cross_path", {}) if not n.agrees]
    assert wrong == [
        "cross_path.csv: cross_thought, on: the file says nothing, recomputed an entry",
        "cross_path.csv: mlm, on: the file says an entry, recomputed nothing",
    ]
    (tabulated.folder / "tables/cross_path.tex").unlink()
    with pytest.raises(UserError, match=r"cross_path\.tex is missing: run `snakemake tables`"):
        list(table_numbers(tabulated.run, "cross_path", {}))


def test_a_row_twice_or_elsewhere_is_named(tabulated: Results) -> None:
    path = tabulated.folder / "tables/cross_path.csv"
    whole = path.read_text()
    header, *rows = whole.splitlines()

    def wrong(*lines: str) -> list[str]:
        path.write_text("\n".join(lines) + "\n")
        return [str(n).split("tables/")[1] for n in table_numbers(tabulated.run, "cross_path", {}) if not n.agrees]

    assert wrong(header, *rows) == []
    assert wrong(header, *rows, rows[0]) == [
        f"cross_path.csv: rows: row {len(rows) + 1}: the file says cross_thought, on, recomputed nothing"
    ]
    assert [line.split(": the")[0] for line in wrong(header, rows[1], rows[0], *rows[2:])] == [
        "cross_path.csv: rows: row 1",
        "cross_path.csv: rows: row 2",
    ]


def test_a_table_that_another_config_left_is_named(tabulated: Results, capsys: pytest.CaptureFixture[str]) -> None:
    assert left_over(tabulated.folder) == []
    config = yaml.safe_dump(tabulated.config | {"ablation": None, "tasks": {}}, sort_keys=False)
    (tabulated.folder / "config.yaml").write_text(config)
    left = [str(tabulated.folder / f"tables/{name}.csv") for name in ("ablations", "tasks")]
    assert main([str(tabulated.folder)]) == 0
    assert f"left by another config, not looked at: {', '.join(left)}\n" in capsys.readouterr().err


def test_missing_results_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml is missing: run"):
        main([str(tmp_path)])


def test_provenance_ties_each_number_to_its_runs(made_once: Results) -> None:
    folder, config = made_once.folder, made_once.config
    run = RunResults(config | {"tasks": config["tasks"] | {"MRPC": {"start_from": "MNLI"}}}, folder)
    document = assemble(run, config_path=folder / "config.yaml", data_paths=[folder / "cross_path"])
    json.dumps(document, allow_nan=False)
    assert document["made"]["config"]["sha256"] == file_hash(folder / "config.yaml")
    assert {"commit", "dirty", "packages", "cpu", "cores", "memory_gb", "gpus", "at"} <= set(document["made"])
    assert [Path(entry["path"]).name for entry in document["data"]] == [f"seed-{n}.json" for n in (1, 2, 3)] * 2

    def find(**wanted: str) -> dict:
        (number,) = [n for n in document["numbers"] if wanted.items() <= n.items()]
        return number

    mean = find(table="tasks", model="mlm", task="RTE", metric="accuracy", figure="mean", kind="model")
    assert mean["sources"] == [str(folder / f"evaluate/mlm/RTE/seed-{seed}/predictions.tsv") for seed in (1, 2, 3)]
    assert str(folder / "pretrain/mlm/seed-2") in mean["runs"]
    assert str(folder / "finetune/mlm/MNLI/seed-2") not in mean["runs"]
    started = find(table="tasks", model="mlm", task="MRPC", metric="f1", figure="mean", kind="model")
    assert str(folder / "finetune/mlm/MNLI/seed-2") in started["runs"]
    difference = find(table="tasks", model="cross_thought", task="RTE", figure="difference")
    assert any("/mlm/" in source for source in difference["sources"])
    reference = find(table="tasks", model="roberta.base (cross-encoder)", task="RTE")
    assert (reference["sources"], "README" in reference["published"]) == ([], True)
    for metric, source in (
        ("valid_loss_bits", "history.tsv"),
        ("cross_path", "seed-1.json"),
        ("pearson", "predictions.tsv"),
    ):
        ablated = find(table="ablations", model="mlm", setting="off", metric=metric, figure="mean")
        assert Path(ablated["sources"][0]).name == source
    assert find(table="cross_path", condition="on", figure="mean")["value"] == pytest.approx(95)

    run = document["runs"][str(folder / "finetune/mlm/RTE/seed-1")]
    assert run["command"]["argv"] == ["train", "--task", "sentence_prediction"]
    assert run["command"]["started"] == "2023-11-14T22:13:20+00:00"
    assert run["command"]["host"]["packages"]["numpy"]
    assert run["benchmark"] == [{"s": 9.0}]
