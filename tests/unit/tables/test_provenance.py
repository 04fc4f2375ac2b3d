"""Where numbers come from: the rows of embeddings, and files that are gone."""

from pathlib import Path

import pytest

from cross_thought.data.run_results import RunResults
from cross_thought.errors import UserError
from cross_thought.tables.of_run import TABLES
from cross_thought.tables.provenance import assemble

# of each table a header, a row, and the file that its number is computed from
SOURCES = {
    "tasks": ("model,task,mean,seeds,control", "m,RTE,40,1,", "evaluate/m/RTE/seed-1/predictions.tsv"),
    "sweeps": ("model,task,setting,median,seeds", "m,RTE,lr-1,40,1", "evaluate/m/RTE/lr-1/seed-1/predictions.tsv"),
    "embeddings": ("model,pooling,task,mean,seeds", "m,mean,find,40,1", "embeddings/m/find/mean/seed-1/pairs.tsv"),
    "mteb": ("model,pooling,task,mean,seeds", "m (tuned on p),mean,STS12,40,1", "mteb/m@p/mean/seed-1/scores.json"),
    "retrieval": ("model,pooling,task,mean,seeds", "m,mean,hens,40,1", "retrieval/m/hens/mean/seed-1/run.trec"),
    "pretraining": ("model,seed,valid_loss_bits", "m,1,4.5", "pretrain/m/seed-1/history.tsv"),
    "masked_words": ("model,words,condition,metric,mean,seeds", "m,all,on,bits,4,1", "masked_words/m/seed-1/words.tsv"),
    "cross_path": ("model,condition,mean,seeds", "m,on,90,1", "cross_path/m/seed-1.json"),
    "ablations": ("model,task,metric,mean,seeds", "m,,masked_words,40,1", "masked_words/m/seed-1/words.tsv"),
}

HEADER = "kind,model,pooling,task,split,metric,mean,seeds"
CONFIG = {
    "models": {
        "mlm": {"source": "pretrain", "cross_sequence": False, "segment_length": 12},
        "given": {"source": "path"},
    },
    "seeds": [1, 2],
    "pretraining_seed": 7,
    "corpus": {"source": "files"},
    "tasks": {"RTE": {}, "MNLI": {}, "demo-match": {"evaluated_with": "RTE"}},
    "embedding_tasks": {"demo-find": {}},
    "embedding_tuning": {"pairs": {"pick": {}}},
}


def numbers(folder: Path, *rows: str, table: str = "embeddings") -> list[dict]:
    """Return the numbers of a table with these rows."""
    path = folder / "tables" / f"{table}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    run = RunResults(CONFIG, folder)
    run.made_of = {table: run.made_of[table]}
    return assemble(run, config_path=path, data_paths=[])["numbers"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a model, tuned on one task with two seeds, and of words."""
    for place in (
        "mlm@pick/demo-find/mean/seed-1",
        "mlm@pick/demo-find/mean/seed-2",
        "mlm/demo-find/mean/seed-7",
        "bm25/demo-find",
    ):
        path = tmp_path / "embeddings" / place / "pairs.tsv"
        path.parent.mkdir(parents=True)
        path.touch()
    for run in ("pretrain/mlm/seed-7", "tune/mlm/pick/seed-1", "tune/mlm/pick/seed-2"):
        (tmp_path / run).mkdir(parents=True)
    return tmp_path


def test_a_tuned_models_number_names_its_files_and_runs(results: Path) -> None:
    (number,) = numbers(results, "model,mlm (tuned on pick),mean,demo-find,test,mrr,40,1 2")
    assert number["model"] == "mlm (tuned on pick)"
    assert number["sources"] == [
        str(results / f"embeddings/mlm@pick/demo-find/mean/seed-{seed}/pairs.tsv") for seed in (1, 2)
    ]
    runs = ("pretrain/mlm/seed-7", "tune/mlm/pick/seed-1", "tune/mlm/pick/seed-2")
    assert number["runs"] == [str(results / run) for run in runs]


def test_what_needs_no_training_names_its_file(results: Path) -> None:
    words, chance = numbers(results, "lexical,bm25,,demo-find,test,mrr,50,", "chance,chance,,demo-find,test,mrr,1,")
    assert (words["sources"], words["runs"]) == ([str(results / "embeddings/bm25/demo-find/pairs.tsv")], [])
    assert (chance["sources"], chance["runs"]) == ([], [])


def test_a_number_whose_file_is_gone_is_refused(results: Path) -> None:
    row = "model,mlm,mean,demo-find,test,mrr,40,7"
    assert numbers(results, row)
    (results / "embeddings/mlm/demo-find/mean/seed-7/pairs.tsv").unlink()
    with pytest.raises(UserError, match=r"mean of mlm is over seeds 7, but of seed 7 .*pairs\.tsv is missing: run"):
        numbers(results, row)


@pytest.fixture
def fine_tuned(results: Path) -> Path:
    """The same with fine-tunings of this run, and with what an earlier config left in the folder."""
    for model in ("mlm", "given"):
        for task in ("RTE", "MNLI", "demo-match", "of-before"):
            path = results / "evaluate" / model / task / "seed-1" / "predictions.tsv"
            path.parent.mkdir(parents=True)
            path.touch()
            if task != "demo-match":
                (results / "finetune" / model / task / "seed-1").mkdir(parents=True)
        (results / "pretrain" / model / "seed-1").mkdir(parents=True)
    return results


def test_what_an_earlier_config_left_is_behind_no_number(fine_tuned: Path) -> None:
    ours, given = numbers(
        fine_tuned, *(f"model,{model},,average,valid,mean,40,1" for model in ("mlm", "given")), table="tasks"
    )
    names = ("RTE", "MNLI", "demo-match")
    assert ours["sources"] == [str(fine_tuned / f"evaluate/mlm/{task}/seed-1/predictions.tsv") for task in names]
    runs = {str(Path(run).relative_to(fine_tuned)) for run in ours["runs"]}
    evaluated = {f"evaluate/mlm/{task}/seed-1" for task in names}
    assert runs == evaluated | {"finetune/mlm/RTE/seed-1", "finetune/mlm/MNLI/seed-1", "pretrain/mlm/seed-7"}
    assert not any("pretrain" in run for run in given["runs"])


def test_a_task_that_is_evaluated_with_anothers_model_names_its_fine_tuning(fine_tuned: Path) -> None:
    (number,) = numbers(fine_tuned, "model,mlm,,demo-match,valid,accuracy,40,1", table="tasks")
    assert str(fine_tuned / "finetune/mlm/RTE/seed-1") in number["runs"]


@pytest.mark.parametrize("table", TABLES)
def test_a_number_of_each_table_names_its_file(table: str, tmp_path: Path) -> None:
    header, row, source = SOURCES[table]
    made, path = tmp_path / source, tmp_path / "tables" / f"{table}.csv"
    for folder in (made.parent, path.parent):
        folder.mkdir(parents=True)
    made.touch()
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    run = RunResults(CONFIG | {"models": {"m": CONFIG["models"]["mlm"]}, "pretraining_seed": "each"}, tmp_path)
    run.made_of = {table: [source]}
    (number,) = assemble(run, config_path=path, data_paths=[])["numbers"]
    assert number["sources"] == [str(made)]
