"""A sweep: every setting runs, the best on the development set is taken, and what comes after it knows of no sweep."""

import json
import os
import re
import shutil
from pathlib import Path
from statistics import median

import pytest
import yaml

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.tables.provenance import assemble
from cross_thought.tables.verify import evaluation_numbers, table_numbers
from tests.workflow.conftest import TINIEST, losses, run_snakemake

RATES = ("1e-05", "0.01")
SWEEP = TINIEST | {
    "models": {"mlm": {"cross_sequence": False}},
    "control": None,
    "finetuning": {
        "num_epochs": 1,
        "learning_rate": list(map(float, RATES)),
        "batch_size": [32],
        "validate_interval_updates": 2,
        "keep_checkpoints": True,
    },
}
TARGETS = [*(f"results/tables/{name}.md" for name in ("tasks", "sweeps")), "results/config.yaml"]


@pytest.fixture(scope="module")
def swept(tiniest_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a sweep of two learning rates and one batch size on a model that is pre-trained already."""
    directory = tmp_path_factory.mktemp("swept")
    shutil.copytree(tiniest_run, directory, dirs_exist_ok=True)
    done = run_snakemake(directory, *TARGETS, overlay=SWEEP)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rule pretrain_model:" not in done.stdout + done.stderr
    return directory


def folder_of(rate: str, stage: str) -> Path:
    """Return where a setting's run lies."""
    return Path("results", stage, "mlm/demo-match", f"learning_rate-{rate}--batch_size-32", "seed-1")


def test_the_choice_follows_from_the_predictions(swept: Path) -> None:
    scores = {}
    for rate in RATES:
        rows = read_predictions(swept / folder_of(rate, "evaluate") / "predictions.tsv")["valid"]
        right = [label == answer for label, answer in zip(rows.labels, rows.predictions, strict=True)]
        scores[f"learning_rate-{rate}--batch_size-32"] = sum(right) / len(right)
    best = max(scores, key=lambda name: median([scores[name]]))  # the first of equals
    choice = json.loads((swept / "results/finetune/mlm/demo-match/choice.json").read_text())
    assert choice["chosen"] == best
    assert {name: found["median"] for name, found in choice["settings"].items()} == pytest.approx(scores)
    rate = re.search(r"rate-(.+)--", best)[1]
    for stage, names in (("evaluate", ["predictions.tsv"]), ("finetune", ["history.tsv", "command.json"])):
        for name in names:
            taken = swept / "results" / stage / "mlm/demo-match/seed-1" / name
            assert taken.read_bytes() == (swept / folder_of(rate, stage) / name).read_bytes()
    argv = json.loads((swept / "results/finetune/mlm/demo-match/seed-1/command.json").read_text())["argv"]
    assert argv[argv.index("--lr") + 1] == rate
    metrics = json.loads((swept / "results/evaluate/mlm/demo-match/seed-1/metrics.json").read_text())
    assert metrics["splits"]["valid"]["metrics"]["accuracy"] == pytest.approx(scores[best])


def test_the_tables_say_what_was_chosen_from(swept: Path) -> None:
    sweeps, tasks = ((swept / f"results/tables/{name}.md").read_text() for name in ("sweeps", "tasks"))
    assert sum("**" in line for line in sweeps.splitlines() if line.startswith("| learning_rate ")) == 1
    assert "main metric, out of 2 runs a model: settings 2, seeds 1 (`sweeps.md`)" in tasks


def test_numbers_are_tied_to_the_chosen_run(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept)
    run = RunResults(yaml.safe_load(Path("results/config.yaml").read_text()))
    run.made_of = {name: run.made_of[name] for name in ("tasks", "sweeps")}  # those that are made here
    found = assemble(run, config_path="results/config.yaml", data_paths=[])
    choice = json.loads(Path("results/finetune/mlm/demo-match/choice.json").read_text())
    chosen = f"results/finetune/mlm/demo-match/{choice['chosen']}/seed-1"
    (number,) = (entry for entry in found["numbers"] if entry["table"] == "tasks" and entry.get("model") == "mlm")
    assert chosen in number["runs"]
    assert found["runs"][chosen]["benchmark"] is not None
    assert [entry["setting"] for entry in found["numbers"] if entry["table"] == "sweeps"] == list(choice["settings"])


def test_what_is_verified_is_computed_again(swept: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((swept / "results/config.yaml").read_text())

    def wrong(results: Path, *tables: str) -> list[str]:
        run, documents = RunResults(config | {"embedding_tasks": {}}, results), {}
        found = list(evaluation_numbers(run, documents))
        assert f"{results}/finetune/mlm/demo-match/choice.json" in documents
        found += [number for table in tables for number in table_numbers(run, table, documents)]
        return [str(number) for number in found if not number.agrees]

    assert wrong(swept / "results", "tasks", "sweeps") == []
    copy = Path(shutil.copytree(swept / "results", tmp_path / "results"))
    choice = copy / "finetune/mlm/demo-match/choice.json"
    document = json.loads(choice.read_text())
    (other,) = document["settings"].keys() - {document["chosen"]}
    choice.write_text(choice.read_text().replace(f'"chosen": "{document["chosen"]}"', f'"chosen": "{other}"'))
    (named,) = wrong(copy)
    assert named.endswith(f"choice.json: chosen: the file says {other}, recomputed {document['chosen']}")


def test_only_the_chosen_checkpoint_is_kept_and_epochs_are_validated_within(swept: Path) -> None:
    kept = [path.relative_to(swept) for path in swept.glob("results/finetune/mlm/**/*.pt")]
    assert kept == [Path("results/finetune/mlm/demo-match/seed-1/best.pt")]
    updates = {update for split, update in losses(swept / folder_of(RATES[0], "finetune") / "history.tsv")}
    assert updates >= {2, 3}  # validated within the epoch, and after it


def test_data_prepared_anew_train_and_choose_nothing(swept: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(swept, tmp_path / "copy", symlinks=True))
    os.utime(copy / "results/tasks/demo-match/.snakemake_timestamp")
    done = run_snakemake(copy, *TARGETS, "--dry-run", overlay=SWEEP)
    planned = set(re.findall(r"^rule (\w+):$", done.stdout + done.stderr, flags=re.MULTILINE))
    assert planned >= {"binarize_task", "score_task", "tabulate_tasks"}
    assert not {rule for rule in planned if rule.endswith(("_setting", "_run", "_sweeps")) or "pretrain" in rule}
    fewer = SWEEP | {"finetuning": SWEEP["finetuning"] | {"learning_rate": [float(RATES[0])]}}
    done = run_snakemake(copy, *TARGETS, "--dry-run", overlay=fewer)  # at the same time
    planned = set(re.findall(r"^rule (\w+):$", done.stdout + done.stderr, flags=re.MULTILINE))
    assert planned >= {"choose_setting", "take_kept_run", "tabulate_sweeps"}


def test_one_more_value_trains_what_it_adds(swept: Path) -> None:
    more = SWEEP["finetuning"] | {"learning_rate": [*map(float, RATES), 0.001]}
    done = run_snakemake(swept, "results/tables/sweeps.md", "--dry-run", overlay=SWEEP | {"finetuning": more})
    planned = re.findall(r"^rule (\w+):\n.*\n +output: (.*?),? ", done.stdout + done.stderr, flags=re.MULTILINE)
    trained = [output for rule, output in planned if rule == "finetune_setting"]
    assert len(trained) == 1
    assert "learning_rate-0.001--batch_size-32" in trained[0]
