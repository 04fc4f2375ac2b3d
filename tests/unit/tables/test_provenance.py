"""Where numbers come from: the rows of embeddings, and files that are gone."""

from pathlib import Path

import pytest

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


def numbers(folder: Path, *rows: str) -> list[dict]:
    """Return the numbers of a table of embeddings with these rows."""
    path = folder / "embeddings.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    tables = {"embeddings": path}
    return assemble(config_path=path, data_paths=[], table_paths=tables, results=folder)["numbers"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a model, tuned on one task with two seeds, and of words."""
    for place in ("mlm@pick/find/mean/seed-1", "mlm@pick/find/mean/seed-2", "mlm/find/mean/seed-7", "bm25/find"):
        path = tmp_path / "embeddings" / place / "pairs.tsv"
        path.parent.mkdir(parents=True)
        path.touch()
    for run in ("pretrain/mlm/seed-7", "tune/mlm/pick/seed-1", "tune/mlm/pick/seed-2"):
        (tmp_path / run).mkdir(parents=True)
    return tmp_path


def test_a_tuned_models_number_names_its_files_and_runs(results: Path) -> None:
    (number,) = numbers(results, "model,mlm (tuned on pick),mean,find,test,mrr,40,1 2")
    assert number["model"] == "mlm (tuned on pick)"
    assert number["sources"] == [
        str(results / f"embeddings/mlm@pick/find/mean/seed-{seed}/pairs.tsv") for seed in (1, 2)
    ]
    runs = ("pretrain/mlm/seed-7", "tune/mlm/pick/seed-1", "tune/mlm/pick/seed-2")
    assert number["runs"] == [str(results / run) for run in runs]


def test_what_needs_no_training_names_its_file(results: Path) -> None:
    words, chance = numbers(results, "lexical,bm25,,find,test,mrr,50,", "chance,chance,,find,test,mrr,1,")
    assert (words["sources"], words["runs"]) == ([str(results / "embeddings/bm25/find/pairs.tsv")], [])
    assert (chance["sources"], chance["runs"]) == ([], [])


def test_a_number_whose_file_is_gone_is_refused(results: Path) -> None:
    row = "model,mlm,mean,find,test,mrr,40,7"
    assert numbers(results, row)
    (results / "embeddings/mlm/find/mean/seed-7/pairs.tsv").unlink()
    with pytest.raises(UserError, match=r"mean of mlm is over seeds 7, but of seed 7 .*pairs\.tsv is missing: run"):
        numbers(results, row)


@pytest.mark.parametrize("table", TABLES)
def test_a_number_of_each_table_names_its_file(table: str, tmp_path: Path) -> None:
    header, row, source = SOURCES[table]
    made, path = tmp_path / source, tmp_path / f"{table}.csv"
    made.parent.mkdir(parents=True)
    made.touch()
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    document = assemble(config_path=path, data_paths=[], table_paths={table: path}, results=tmp_path)
    (number,) = document["numbers"]
    assert number["sources"] == [str(made)]
