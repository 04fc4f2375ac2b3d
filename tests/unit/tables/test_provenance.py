"""Where numbers come from: the rows of embeddings, and files that are gone."""

from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.tables.provenance import assemble

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
