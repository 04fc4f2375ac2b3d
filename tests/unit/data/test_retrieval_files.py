"""Collections from files as people have them: TSV, JSON lines, BEIR's layout, TREC's judgements; and what is refused."""

import gzip
import json
import re
from pathlib import Path

import pytest

from cross_thought.config import load_config
from cross_thought.data.retrieval import prepare_collection, retrieval_tasks_of
from cross_thought.errors import UserError

QUERIES = "id\ttext\nq1\twho keeps hens\nq2\twhat burns\nq3\tasked of nobody\n"
PASSAGES = "id\ttext\na\tthe baker keeps hens\nb\tthe mill burns\nc\t\n"
QRELS = "query-id\tcorpus-id\tscore\nq1\ta\t2\nq2\tb\t1\nq2\tc\t0\n"


def config_of(directory: Path, files: dict[str, str] | None = None, **entry: object) -> dict:
    """Write a collection's files, and lay it over the config."""
    for name, content in ({"q.tsv": QUERIES, "p.tsv": PASSAGES, "qrels.tsv": QRELS} | (files or {})).items():
        (directory / name).write_text(content, encoding="utf-8")
    places = {"queries": str(directory / "q.tsv"), "passages": str(directory / "p.tsv")}
    mine = places | {"judgements": {"test": str(directory / "qrels.tsv")}} | entry
    return load_config({"retrieval_tasks": {"mine": {key: value for key, value in mine.items() if value is not None}}})


def prepared(folder: Path, config: dict) -> tuple[dict[str, list[str]], dict]:
    """Prepare the collection; return the lines of its files, and its summary."""
    prepare_collection(retrieval_tasks_of(config)["mine"], folder / "out")
    files = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (folder / "out").iterdir()}
    return files, json.loads("\n".join(files.pop("summary.json")))


def test_tsv_files(tmp_path: Path) -> None:
    files, summary = prepared(tmp_path, config_of(tmp_path))
    assert files == {
        "passages.ids": ["a", "b", "c"],
        "passages.txt": ["the baker keeps hens", "the mill burns", ""],
        "queries.ids": ["q1", "q2"],
        "queries.txt": ["who keeps hens", "what burns"],
        "test.qrels": ["q1 0 a 2", "q2 0 b 1", "q2 0 c 0"],
    }
    assert summary == {
        "passages": 3, "empty": 1, "queries": 2, "unjudged": 1, "splits": {"test": {"queries": 2, "right": 2, "absent": 0}}
    }  # fmt: skip


def test_metrics_fit_the_depth_unless_the_config_says_which(tmp_path: Path) -> None:
    assert retrieval_tasks_of(config_of(tmp_path))["mine"].metrics == ("ndcg@10", "mrr", "recall@10", "recall@100")
    assert retrieval_tasks_of(config_of(tmp_path, depth=50))["mine"].metrics == ("ndcg@10", "mrr", "recall@10")


def test_beirs_layout(tmp_path: Path) -> None:
    lines = [
        {"_id": "4983", "title": "Hens", "text": "the baker\tkeeps\nhens", "metadata": {}},
        {"_id": "b", "title": "", "text": "the mill burns"},
    ]
    asked = [{"_id": "1", "text": "who keeps hens", "metadata": {}}, {"_id": "2", "text": "what burns"}]
    folder = tmp_path / "scifact"
    files = {
        "scifact/queries.jsonl": "".join(json.dumps(line) + "\n" for line in asked),
        "scifact/qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\t4983\t1\n",
        "scifact/qrels/dev.tsv": "query-id\tcorpus-id\tscore\n2\tb\t1\n",
        "scifact/qrels/train.tsv": "query-id\tcorpus-id\tscore\n2\tb\t1\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    config = load_config({"data_dir": str(tmp_path), "retrieval_tasks": {"mine": {"folder": "{data_dir}/scifact"}}})
    task = retrieval_tasks_of(config)["mine"]
    assert task.splits == ("valid", "test")
    found, summary = prepared(tmp_path, config)
    assert found["passages.txt"] == ["Hens the baker keeps hens", "the mill burns"]
    assert found["queries.ids"] == ["1", "2"]
    assert (found["test.qrels"], found["valid.qrels"]) == (["1 0 4983 1"], ["2 0 b 1"])
    assert summary["splits"].keys() == {"valid", "test"}
    # what the run notes has the files, and is a config itself
    assert load_config({"retrieval_tasks": config["retrieval_tasks"]})["retrieval_tasks"] == config["retrieval_tasks"]


def test_files_without_a_header_other_columns_and_trecs_judgements(tmp_path: Path) -> None:
    """MS MARCO's files, and DPR's, whose text comes before its title."""
    bare = {name: content.partition("\n")[2] for name, content in {"q.tsv": QUERIES, "p.tsv": PASSAGES}.items()}
    files, _ = prepared(tmp_path, config_of(tmp_path, bare | {"qrels.tsv": "q1 0 a 1\nq1\t0\tb\t-1\n"}, header=False))
    assert files["queries.txt"] == ["who keeps hens"]
    assert files["test.qrels"] == ["q1 0 a 1", "q1 0 b -1"]
    passages = {"p.tsv": "pid\tbody\theading\na\tkeeps hens\tThe baker\n", "qrels.tsv": "q1\ta\t1\n"}
    files, _ = prepared(tmp_path, config_of(tmp_path, passages, passage_columns=["pid", "heading", "body"]))
    assert files["passages.txt"] == ["The baker keeps hens"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"q.tsv": QUERIES + "q1\tagain\n"}, "q.tsv, line 5: the query 'q1' stands twice; leave one"),
        ({"p.tsv": PASSAGES + "a\tagain\n"}, "p.tsv, line 5: the passage 'a' stands twice; leave one"),
        ({"q.tsv": QUERIES + "q4\t \n"}, "q.tsv, line 5: the query 'q4' is empty; fill it in, or take it out"),
        ({"p.tsv": PASSAGES + "d e\ttext\n"}, "p.tsv, line 5: the id 'd e' is no word; give ids without spaces"),
        ({"p.tsv": PASSAGES + "\ttext\n"}, "p.tsv, line 5: the id '' is empty; give ids"),
        ({"p.tsv": PASSAGES + "d\ta\ttab\n"}, "p.tsv, line 5: 3 fields where line 1 has 2"),
        ({"p.tsv": "id\ttext\n"}, "p.tsv has no passages"),
        ({"p.tsv": "name\ttext\na\tb\n"}, "p.tsv: no columns `id` and `text` among name, text; name those meant in retrieval_tasks.mine.passage_columns"),
        ({"qrels.tsv": QRELS + "q9\ta\t1\n"}, "qrels.tsv, line 5: the query 'q9' is none of"),
        ({"qrels.tsv": QRELS + "q1\ta\t1\n"}, "qrels.tsv, line 5: query 'q1' and passage 'a' are judged twice"),
        ({"qrels.tsv": QRELS + "q1\tb\thigh\n"}, "qrels.tsv, line 5: the relevance 'high' is no whole number"),
        ({"qrels.tsv": QRELS + "q1\tb\n"}, "qrels.tsv, line 5: 'q1\\tb' is no judgement, which has query, passage"),
        ({"qrels.tsv": "q1\ta\t0\n"}, "qrels.tsv judges no passage right, by a relevance above 0"),
        ({"qrels.tsv": "q1\tother\t1\n"}, "qrels.tsv: none of its right passages is in"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused(files: dict, message: str, tmp_path: Path) -> None:
    config = config_of(tmp_path, files)
    with pytest.raises(UserError, match=re.escape(message)):
        prepared(tmp_path, config)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"queries": None}, "retrieval_tasks.mine lacks `queries`: give queries, passages and judgements, or a folder"),
        ({"judgements": {"test": "gone.tsv"}}, "retrieval_tasks.mine.judgements.test is 'gone.tsv', which is no file"),
        ({"metrics": ["recall@100"], "depth": 50}, "mine.metrics has 'recall@100', but its depth is 50: raise that"),
        ({"query_columns": ["id", 2], "header": False}, "mine.query_columns names the column 'id' but has `header: false`"),
        ({"index": "hnsw"}, "retrieval_tasks.mine.index is 'hnsw'; it must be one of exact, ivf"),
        ({"folder": "x"}, "retrieval_tasks.mine has queries and a folder, which has them too: leave either out"),
        ({"queries": None, "passages": None, "judgements": None, "folder": "x"}, "mine.folder is 'x', which has no corpus.jsonl"),
        ({"queries": None, "passages": None, "judgements": None, "folder": "x" * 300}, "which has no corpus.jsonl"),
    ],
)  # fmt: skip
def test_entries_that_do_not_fit_are_refused(entry: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        retrieval_tasks_of(config_of(tmp_path, None, **entry))
