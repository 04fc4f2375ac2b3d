"""What is planned anew once code or data have changed: what computes numbers and prepares data; training never for code."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY, run_snakemake

PAID_FOR = {"fetch_file", "pretrain_model", "finetune_task", "finetune_kept_task", "evaluate_task"}
METRICS = "results/evaluate/mlm/demo-job/seed-1/metrics.json"


def planned(directory: Path, *arguments: str, overlay: dict = TINY) -> set[str]:
    """Return the rules that a dry run plans."""
    done = run_snakemake(directory, "--dry-run", *arguments, overlay=overlay)
    assert done.returncode == 0, done.stderr[-3000:]
    return set(re.findall(r"^rule (\w+):$", done.stdout + done.stderr, flags=re.MULTILINE))


def append(text: str, *paths: Path) -> None:
    """Change files at their ends."""
    for path in paths:
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_touched_files_and_other_code_to_train_are_no_reason(clone: Path) -> None:
    for folder in ("cross_thought", "workflow_scripts", "rules", "envs", "resources", "report"):
        for path in (clone / folder).rglob("*.*"):
            os.utime(path)
    # these have files of the repository as inputs, and the copy's have other paths
    assert planned(clone) <= {"tabulate_tasks", "tabulate_embeddings", "record_provenance", "write_report", "all"}
    append("\n# new\n", *(clone / "workflow_scripts" / f"{name}.py" for name in ("pretrain", "finetune", "evaluate")))
    assert planned(clone, METRICS) == set()


def test_other_code_of_a_metric_scores_anew_without_training(clone: Path) -> None:
    code, old = clone / "cross_thought/evaluation/metrics.py", json.loads((clone / METRICS).read_text())
    text = code.read_text(encoding="utf-8")
    changed = text.replace("float(sum(map(eq, labels,", "1 - float(sum(map(eq, labels,")
    assert changed != text
    code.write_text(changed, encoding="utf-8")
    rules = planned(clone)
    assert {"score_task", "tabulate_tasks", "record_provenance", "write_report"} <= rules
    assert not rules & (PAID_FOR | {"prepare_task", "binarize_task"})
    assert run_snakemake(clone, METRICS, overlay=TINY).returncode == 0
    new = json.loads((clone / METRICS).read_text())["splits"]["valid"]["metrics"]["accuracy"]
    assert new == pytest.approx(1 - old["splits"]["valid"]["metrics"]["accuracy"])


def test_other_code_that_prepares_data_prepares_it_anew_without_training(clone: Path) -> None:
    append(
        "\n# new\n", *(clone / "cross_thought/data" / f"{name}.py" for name in ("corpus", "glue", "bpe", "binarize"))
    )
    rules = planned(clone)
    assert {"prepare_corpus", "prepare_task", "train_bpe", "encode_task", "binarize_corpus", "binarize_task"} <= rules
    assert {"embed_tasks", "measure_cross_path", "score_task", "tabulate_tasks"} <= rules
    assert not rules & PAID_FOR
    rules = planned(clone, overlay=TINY | {"finetuning": {"num_epochs": 2}})  # at the same time
    assert rules & PAID_FOR == {"finetune_task", "finetune_kept_task", "evaluate_task"}


def test_what_is_not_there_is_trained_though_its_data_are_made_anew(clone: Path) -> None:
    shutil.rmtree(clone / "results/pretrain/mlm")
    append("\n# new\n", clone / "cross_thought/data/corpus.py")
    model = "results/pretrain/mlm/seed-1/model.pt"
    assert {"note_pretraining", "pretrain_model", "binarize_corpus"} <= planned(clone, model)


def test_other_settings_train_anew(clone: Path) -> None:
    learning = TINY | {"finetuning": {"num_epochs": 2}}
    assert PAID_FOR & planned(clone, overlay=learning) == {"finetune_task", "finetune_kept_task", "evaluate_task"}
    documents = TINY | {"corpus": TINY["corpus"] | {"demo_documents": 301}}
    assert PAID_FOR & planned(clone, overlay=documents) == PAID_FOR - {"fetch_file"}


def test_predictions_train_nothing_whose_checkpoint_is_there(clone: Path) -> None:
    (clone / "rows.tsv").write_text("first\tsecond\na\tb\n")
    entry = {"files": "rows.tsv", "model": "mlm", "task": "demo-match", "input_columns": [1, 2]}
    assert planned(clone, "predict", overlay=TINY | {"predict": {"new": entry}}) == {"predict", "predict_rows"}
    gone = TINY | {"predict": {"new": entry | {"task": "demo-overlap", "seed": 2}}}
    done = run_snakemake(clone, "predict", "--dry-run", overlay=gone)
    said = "predict.new: results/finetune/mlm/demo-overlap/seed-2/best.pt was deleted when it had been evaluated, so it"
    assert said in done.stdout + done.stderr
    assert "rule finetune_kept_task:" in done.stdout + done.stderr
    assert "rule pretrain_model:" not in done.stdout + done.stderr


def test_a_corpus_of_ones_own_counts_by_its_content(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    documents = ["\n".join(f"Letter {a} follows letter {b}." for b in "abcdef") for a in "abcdefghijklmnopqrst"]
    text.write_text("\n\n".join(documents) + "\n" * 1_100_000)  # Snakemake itself looks into small files alone
    overlay = {
        "corpus": {"source": "files", "files": {"train": ["text.txt"]}, "valid_fraction": 0.2},
        "models": {"mlm": {"cross_sequence": False, "pretraining": {"max_updates": 1, "warmup_updates": 0}}},
        "control": None,
        "seeds": [1],
    }
    target = "results/pretrain/mlm/seed-1/model.pt"
    assert run_snakemake(tmp_path, target, overlay=overlay).returncode == 0
    os.utime(text)
    assert "prepare_corpus" in planned(tmp_path, target, overlay=overlay)
    assert not PAID_FOR & planned(tmp_path, target, overlay=overlay)
    text.write_text(text.read_text().replace("Letter t", "Letter z"))
    assert "pretrain_model" in planned(tmp_path, target, overlay=overlay)


def test_a_given_checkpoint_that_is_touched_is_not_tuned_anew(tmp_path: Path) -> None:
    made = tmp_path / "results/tune/given/demo-match"
    for folder in (made / "seed-1/model", tmp_path / "results/tasks/demo-match", tmp_path / "results/bpe/vocabulary"):
        folder.mkdir(parents=True)
    for file in (tmp_path / "model.pt", made / "settings.json", made / "seed-1/history.tsv"):
        file.write_text("made")
    overlay = TINY | {
        "models": {"given": {"source": "path", "location": str(tmp_path / "model.pt")}},
        "control": None,
        "embedding_tuning": {"pairs": {"demo-match": {}}},
    }
    target = "results/tune/given/demo-match/seed-1/history.tsv"
    now = time.time()
    os.utime(made / "settings.json", (now - 60, now - 60))
    os.utime(tmp_path / "model.pt", (now + 60, now + 60))
    assert "tune_embeddings" not in planned(tmp_path, target, overlay=overlay)
    os.utime(made / "settings.json", (now + 60, now + 60))
    assert "tune_embeddings" in planned(tmp_path, target, overlay=overlay)
    done = run_snakemake(tmp_path, "--dry-run", "results/provenance.json", overlay=overlay)
    inputs = re.search(r"rule record_provenance:\n    input: (.*)", done.stdout + done.stderr)
    assert inputs
    assert str(tmp_path / "model.pt") in inputs[1]  # its hash is to be known


def test_a_collection_is_prepared_and_searched_anew_by_what_each_goes_by(tmp_path: Path) -> None:
    (tmp_path / "queries.tsv").write_text("id\ttext\nq1\twho keeps hens\n")
    (tmp_path / "passages.tsv").write_text("id\ttitle\ttext\na\tone\tthe baker keeps hens\nb\ttwo\tthe mill burns\n")
    (tmp_path / "qrels.tsv").write_text("q1\ta\t1\n")
    files = {"queries": "queries.tsv", "passages": "passages.tsv", "judgements": {"test": "qrels.tsv"}}

    def planned_with(**changes: object) -> set[str]:
        overlay = TINY | {"retrieval_tasks": {"mine": files | changes}}
        return planned(tmp_path, run, overlay=overlay)

    run = "results/retrieval/bm25/mine/run.trec"
    assert run_snakemake(tmp_path, run, overlay=TINY | {"retrieval_tasks": {"mine": files}}).returncode == 0
    assert planned_with(metrics=["mrr"]) == set()
    assert planned_with(depth=1) == {"search_words"}
    assert planned_with(passage_columns=["id", "text"]) == {"prepare_collection", "search_words"}


def test_another_metric_is_computed_from_the_predictions(clone: Path) -> None:
    tasks = TINY["tasks"] | {
        "demo-match": TINY["tasks"]["demo-match"] | {"metrics": ["macro_f1", "accuracy"], "in_average": False}
    }
    rules = planned(clone, overlay=TINY | {"tasks": tasks})
    assert {"score_task", "tabulate_tasks"} <= rules
    assert not rules & PAID_FOR


def test_tables_follow_the_config_though_other_code_prepares_their_data_anew(clone: Path) -> None:
    append("\n# new\n", *(clone / "cross_thought/data" / f"{name}.py" for name in ("corpus", "glue")))
    rules = planned(clone, overlay=TINY | {"seeds": [1]})
    assert {"tabulate_pretraining", "tabulate_masked_words", "tabulate_tasks", "tabulate_embeddings"} <= rules
    assert not rules & PAID_FOR


def test_a_checkpoint_that_is_to_be_kept_is_trained_for_who_asks_for_it(clone: Path) -> None:
    kept = {name: entry | {"keep_checkpoints": True} for name, entry in TINY["tasks"].items()}
    other = TINY | {"tasks": kept, "finetuning": TINY["finetuning"] | {"keep_checkpoints": True}}
    done = run_snakemake(clone, "--dry-run", overlay=other)
    said = "keep_checkpoints: 4 of 12 fine-tuned checkpoints were deleted when they had been evaluated"
    assert said in done.stdout + done.stderr
    assert not PAID_FOR & planned(clone, overlay=other)
    tables = [f"results/tables/{name}.csv" for name in ("tasks", "embeddings", "pretraining", "masked_words")]
    assert planned(clone, *tables, overlay=other) <= {"tabulate_tasks", "tabulate_embeddings"}  # as above
    assert {"finetune_kept_task", "evaluate_task"} <= planned(clone, "finetune", overlay=other)


def test_a_part_of_the_tables_brings_its_config_along(clone: Path) -> None:
    other = TINY | {"embedding_tasks": {"demo-overlap": {}}}
    assert "write_config" not in planned(clone, "embeddings")
    assert planned(clone, "embeddings", overlay=other) >= {"tabulate_embeddings", "write_config"}
    assert run_snakemake(clone, "embeddings", overlay=other).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "cross_thought.tables.verify"], cwd=clone, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
