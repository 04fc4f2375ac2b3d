"""The workflow as a whole: it parses, plans, runs from raw text to tables, and refuses what is wrong before any job."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import REPOSITORY, TINY, run_snakemake


def test_everything_is_planned_once(tmp_path: Path) -> None:
    done = run_snakemake(tmp_path, "--dry-run", "--quiet", "rules", overlay=TINY)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("results/*"))


@pytest.mark.parametrize("overlay", sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml")))
def test_overlays_plan(overlay: str, tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "config" / overlay).read_text())
    if "{data_dir}" in str(config):
        pytest.skip("needs files of one's own")
    done = run_snakemake(tmp_path, "--dry-run", overlay=config)
    assert done.returncode == 0, done.stderr[-3000:]


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


def test_every_declared_result_is_there(tiny_run: Path) -> None:
    results = tiny_run / "results"
    for path in ("figures/losses.svg", "figures/losses.png", "tables/cross_path.md", "config.yaml"):
        assert (results / path).stat().st_size > 0
    provenance = json.loads((results / "provenance.json").read_text())
    assert provenance["numbers"]
    effective = yaml.safe_load((results / "config.yaml").read_text())
    assert effective["corpus"]["demo_documents"] == 300
    assert effective["models"]["mlm"]["cross_sequence"] is False


def test_progress_is_in_the_training_log(tiny_run: Path) -> None:
    log = (tiny_run / "results/logs/pretrain_model/mlm/seed-1.log").read_text()
    assert "update 6/6 (100 %)" in log
    assert "updates/s" in log
    assert "valid loss" in log


def test_a_second_run_has_nothing_to_do(tiny_run: Path) -> None:
    done = run_snakemake(tiny_run, overlay=TINY)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stderr


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
