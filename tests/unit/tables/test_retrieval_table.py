"""The table of retrieval: from runs to rows over seeds, laid out, and recomputed from the runs."""

from pathlib import Path

import pytest

from cross_thought.data.retrieval import prepare_collection
from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.retrieval import Collection, search_words, write_run
from cross_thought.files import write_json
from cross_thought.tables.layout import read_table
from cross_thought.tables.verify import Number, evaluation_numbers, table_numbers
from tests.unit.synthetic import script

PASSAGES = [("a", "the baker keeps hens"), ("b", "the mill burns"), ("c", "a lake"), ("d", "the hens sleep")]
QRELS = "q1\ta\t2\nq1\td\t1\nq2\tb\t1\nq3\tc\t0\nq2\tgone\t0\n"
# what each run finds for q1, q2 and q3
FOUND = {("ct", 1): ["a d", "b", "c"], ("ct", 2): ["c a", "a b", ""]}
OTHERS = ["b c", "c", ""]


@pytest.fixture
def results(tmp_path: Path) -> RunResults:
    """Write the runs, metrics and the table of retrieval."""
    folder = tmp_path / "results"
    (tmp_path / "p.tsv").write_text("id\ttext\n" + "".join(f"{name}\t{text}\n" for name, text in PASSAGES))
    (tmp_path / "q.tsv").write_text("id\ttext\nq1\twho keeps hens\nq2\twhat burns\nq3\twhere\n")
    (tmp_path / "qrels.tsv").write_text(QRELS)
    files = {"queries": str(tmp_path / "q.tsv"), "passages": str(tmp_path / "p.tsv")}
    entry = files | {"judgements": {"test": str(tmp_path / "qrels.tsv")}, "metrics": ["mrr", "recall@2", "raw_mrr"]}
    config = {
        "models": {"ct": {"source": "pretrain"}, "mlm": {"source": "pretrain"}},
        "seeds": [1, 2],
        "pretraining_seed": "each",
        "tasks": {},
        "embedding_tuning": {"pairs": {"pairs": {}}},
        "retrieval_tasks": {"hens": entry | {"depth": 2, "index": "ivf"}},
    }
    run = RunResults(config, folder)
    tasks, runs = run.retrieval_tasks, run.retrieval_evaluations()
    prepared = folder / "collections" / "hens"
    prepare_collection(tasks["hens"], prepared)
    places = [Path(path).parent for path in run.retrieval("metrics.json")]
    for (model, _, _, seed), place in zip(runs, places, strict=True):
        place.mkdir(parents=True)
        if seed is None:
            collection = Collection(prepared, tasks["hens"])
            write_run(
                place / "run.trec", tasks["hens"], collection, search_words(tasks["hens"], collection), tag="bm25"
            )
            continue
        lines = [
            f"q{query} Q0 {name} {rank} {1 / rank} {model}\n"
            for query, names in enumerate(FOUND.get((model, seed), OTHERS), start=1)
            for rank, name in enumerate(names.split(), start=1)
        ]
        (place / "run.trec").write_text("".join(lines))
        write_json(place / "counts.json", {"sentences": 7, "cut": 2 * (model == "ct")})
    script("score_retrieval")(
        runs,
        tasks,
        prepared={"hens": prepared},
        run_files=[place / "run.trec" for place in places],
        metrics_files=[place / "metrics.json" for place in places],
    )
    (folder / "tables").mkdir()
    endings = {"csv": "csv", "markdown": "md", "latex": "tex"}
    script("make_table")(
        "retrieval", run, files={form: str(folder / "tables" / f"retrieval.{end}") for form, end in endings.items()}
    )
    return run


def test_rows_are_means_over_seeds_beside_bm25(results: RunResults) -> None:
    folder = Path(results.folder)
    rows = read_table(folder / "tables" / "retrieval.csv")
    of = {(row.model, row.metric): row for row in rows.itertuples()}
    mrr = of["ct", "mrr"]
    # q1 and q2 count; q3 has no right passage
    assert mrr.values == pytest.approx([100, 50])
    assert (mrr.mean, mrr.n, mrr.best, mrr.num_queries, mrr.num_candidates) == (75, 2, True, 3, 4)
    assert of["ct", "raw_mrr"].values == pytest.approx([100 * 2 / 3, 100 / 3], rel=1e-5)
    assert of["ct", "recall@2"].values == pytest.approx([100, (50 + 100) / 2])
    assert of["mlm (tuned on pairs)", "mrr"].mean == 0
    assert (of["bm25", "mrr"].kind, of["bm25", "mrr"].mean, of["bm25", "recall@2"].mean) == ("lexical", 100, 100)
    assert "chance" not in set(rows["kind"])

    page = (folder / "tables" / "retrieval.md").read_text()
    assert "## hens (test): 3 queries, 4 passages, 3 right ones to find" in page
    assert "| ct                   | **75.0 ± 35.4 (2)** |" in page
    for note in (
        "- hens: the first 2 passages of a query are ranked.",
        "- hens: searched by an approximate index (ivf, 64 clusters a query), which may miss passages.",
        "- hens (test): queries without a right passage, which raw metrics alone count: 1.",
        "- hens (test): judged passages that the collection lacks; right ones are never found: 1.",
        "- hens (collection): 2 of 7 sentences cut at the positions (ct).",
        "- `(tuned on PAIRS)`: the model after contrastive tuning",
    ):
        assert note in page


def test_the_table_is_recomputed_from_the_runs(results: RunResults) -> None:
    def recompute() -> list[Number]:
        documents: dict = {}
        return [*evaluation_numbers(results, documents), *table_numbers(results, "retrieval", documents)]

    numbers = recompute()
    assert len(numbers) > 100
    assert [str(number) for number in numbers if not number.agrees] == []
    run = Path(results.folder) / "retrieval/ct/hens/mean/seed-2/run.trec"
    run.write_text(run.read_text().replace("q1 Q0 c 1", "q1 Q0 d 1"))
    wrong = [str(number) for number in recompute() if not number.agrees]
    assert any(
        "seed-2/metrics.json: splits: test: metrics: mrr: the file says 0.5, recomputed 0.75" in one for one in wrong
    )
    assert any(
        "retrieval.csv: model, ct, mean, hens, test, mrr: mean: the file says 75, recomputed 87.5" in one
        for one in wrong
    )
