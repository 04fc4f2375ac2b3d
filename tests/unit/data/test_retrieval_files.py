"""Collections from files as people have them: TSV, JSON lines, BEIR's layout, TREC's judgements; and what is refused."""

import gzip
import json
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from cross_thought.config import check_collections, load_config
from cross_thought.data.download import DOWNLOADS_TABLE, read_table
from cross_thought.data.retrieval import prepare_collection, read_qrels
from cross_thought.data.retrieval_tasks import COLLECTIONS, COLLECTIONS_FILE, retrieval_tasks_of
from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError
from cross_thought.evaluation.retrieval import Collection, read_run, retrieval_metrics, search_words, write_run
from cross_thought.sources import _reached
from cross_thought.yaml_text import read_yaml

SAMPLE = (
    Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "hotpotqa/hotpot_train_100.json"
)

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


def test_judgements_with_an_index_before_them_are_refused(tmp_path: Path) -> None:
    """As pandas writes them unless told otherwise; a row's number would be the query."""
    config = config_of(tmp_path, {"qrels.tsv": "\tquery-id\tcorpus-id\tscore\n0\tq1\ta\t2\n1\tq2\tb\t1\n"})
    said = "line 2: '0\\tq1\\ta\\t2' has 4 fields where the first line names 3; write no index before them"
    with pytest.raises(UserError, match=re.escape(said)):
        prepared(tmp_path, config)


def test_quotes_of_tsv_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    quoted = PASSAGES + 'd\t"the ""red"" hen"\n'
    files, _ = prepared(tmp_path, config_of(tmp_path, {"p.tsv": quoted}))
    assert files["passages.txt"][-1] == '"the ""red"" hen"'
    assert f"{tmp_path / 'p.tsv'}: 1 rows have a text that begins and ends with a quote" in caplog.text


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


@pytest.mark.parametrize("lacking", [{}, {"title": None}])
def test_a_passage_may_lack_a_title_that_others_have(lacking: dict, tmp_path: Path) -> None:
    lines = [{"_id": "a", "text": "keeps hens"} | lacking, {"_id": "b", "title": "The mill", "text": "burns"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found, _ = prepared(tmp_path, config_of(tmp_path, passages=str(tmp_path / "p.jsonl")))
    assert found["passages.txt"] == ["keeps hens", "The mill burns"]


def beir_zip(path: Path, files: dict[str, str]) -> None:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def fullwiki(data_dir: Path | None, **changes: object) -> dict:
    return {"data_dir": data_dir and str(data_dir), "retrieval_tasks": {"HotpotQA-fullwiki": changes or None}}


def test_hotpotqas_full_wiki_setting(tmp_path: Path) -> None:
    """The sample's own paragraphs as BEIR's archive has the whole, counted and scored by another reading."""
    if not SAMPLE.is_file():
        pytest.skip(f"needs HotpotQA's sample in {SAMPLE.parent}")
    questions = json.loads(SAMPLE.read_text(encoding="utf-8"))
    texts = {title: "".join(sentences) for item in questions for title, sentences in item["context"]}
    ids = {title: str(12 + 7 * number) for number, title in enumerate(sorted(texts))}
    gold = {item["_id"]: {ids[title] for title, _ in item["supporting_facts"]} for item in questions}
    header = "query-id\tcorpus-id\tscore\n"
    right = {"dev": list(gold)[:40], "test": list(gold)[40:], "train": []}
    corpus = ({"_id": ids[title], "title": title, "text": text, "metadata": {}} for title, text in texts.items())
    files = {
        "hotpotqa/corpus.jsonl": "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in corpus),
        "hotpotqa/queries.jsonl": "".join(
            json.dumps({"_id": item["_id"], "text": item["question"], "metadata": {"answer": item["answer"]}}) + "\n"
            for item in questions
        ),
    } | {
        f"hotpotqa/qrels/{split}.tsv": header + "".join(f"{name}\t{id}\t1\n" for name in names for id in gold[name])
        for split, names in right.items()
    }
    beir_zip(tmp_path / "data/beir/hotpotqa.zip", files)
    task = retrieval_tasks_of(load_config(fullwiki(tmp_path / "data")))["HotpotQA-fullwiki"]
    assert task.inputs == (str(tmp_path / "data/beir/hotpotqa.zip"),)

    summary = prepare_collection(task, tmp_path / "out")
    assert (summary["passages"], summary["queries"], summary["unjudged"]) == (len(texts), 100, 0)
    assert summary["splits"] == {
        "valid": {"queries": 40, "right": 80, "absent": 0},
        "test": {"queries": 60, "right": 120, "absent": 0},
    }
    collection = Collection(tmp_path / "out", task)
    assert {query: set(of_query) for query, of_query in collection.judgements.items()} == gold
    shown = dict(zip(collection.passages, collection.texts("passages"), strict=True))
    assert all(shown[ids[title]] == re.sub(r"[\t\r\n]", " ", f"{title} {texts[title].strip()}") for title in texts)

    write_run(tmp_path / "run", task, collection, search_words(task, collection), tag="bm25")
    run = read_run(tmp_path / "run")
    found = retrieval_metrics(task.metrics, read_qrels(tmp_path / "out/test.qrels"), run)
    best = {name: sorted(run[name], key=lambda id: -run[name][id]) for name in right["test"]}
    for k in (2, 10, 20, 100):
        shares = [len(gold[name] & set(best[name][:k])) / 2 for name in right["test"]]
        assert found[f"recall@{k}"] == pytest.approx(sum(shares) / 60)
        if k < 100:
            assert found[f"full_recall@{k}"] == pytest.approx(shares.count(1) / 60)
    assert 0.1 < found["full_recall@2"] < found["full_recall@10"] < found["recall@10"] < 1

    # unpacked, the same; and the config may say how it is searched
    with zipfile.ZipFile(tmp_path / "data/beir/hotpotqa.zip") as archive:
        archive.extractall(tmp_path / "data/beir")
    config = load_config(fullwiki(tmp_path / "data", depth=200, index="ivf", metrics=["full_recall@200"]))
    unpacked = retrieval_tasks_of(config)["HotpotQA-fullwiki"]
    assert unpacked.passages == (str(tmp_path / "data/beir/hotpotqa/corpus.jsonl"),)
    assert (unpacked.depth, unpacked.index, unpacked.metrics) == (200, "ivf", ("full_recall@200",))
    assert prepare_collection(unpacked, tmp_path / "again") == summary
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_collections_that_ship_are_entries_of_ones_own(tmp_path: Path) -> None:
    entries = read_yaml(COLLECTIONS_FILE)  # no key twice
    assert entries == COLLECTIONS
    check_collections(entries)
    assert {entry["archive"] for entry in entries.values()} <= read_table(DOWNLOADS_TABLE).keys()
    with pytest.raises(UserError, match=r"collections.yaml: mine.index is 'hnsw'; it must be one of exact, ivf"):
        check_collections({"mine": {"index": "hnsw"}})
    shipped = retrieval_tasks_of({"data_dir": None, "retrieval_tasks": {name: {} for name in entries}})
    own = retrieval_tasks_of(load_config({"retrieval_tasks": {f"my-{name}": entry for name, entry in entries.items()}}))
    assert [replace(task, name=name.removeprefix("my-")) for name, task in own.items()] == list(shipped.values())
    assert shipped["HotpotQA-fullwiki"].inputs == ("results/downloads/beir/hotpotqa.zip",)
    # what a run notes of it has no files, which lie elsewhere on another machine
    assert load_config(fullwiki(None))["retrieval_tasks"] == {"HotpotQA-fullwiki": {}}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"HotpotQA-fullwiki": {"header": False}}, "HotpotQA-fullwiki has header of its own, but HotpotQA-fullwiki ships"),
        ({"HotpotQA-fullwiki": {"depth": 50}}, "HotpotQA-fullwiki.metrics has 'recall@100', but its depth is 50: raise"),
        ({"hotpotqa": None}, "retrieval_tasks.hotpotqa lacks `queries`: give queries, passages and judgements, or a folder "
         "with all three, or choose a collection that ships, HotpotQA-fullwiki"),
        ({"a": {"archive": "beir/nq.zip"}}, "retrieval_tasks.a.archive is 'beir/nq.zip', which is no name in resources/"),
        ({"a": {"archive": "beir/hotpotqa.zip", "folder": "x"}}, "retrieval_tasks.a has archive and a folder, which has"),
    ],
)  # fmt: skip
def test_entries_that_do_not_ship_are_refused(entries: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        retrieval_tasks_of(load_config({"retrieval_tasks": entries}))


def test_archives_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    lines = {
        "corpus.jsonl": '{"_id": "7", "title": "A", "text": "b"}\n',
        "queries.jsonl": '{"_id": "q", "text": "a"}\n',
    }
    files = {f"hotpotqa/{name}": text for name, text in lines.items()} | {"hotpotqa/qrels/dev.tsv": "q\t7\t1\n"}
    beir_zip(tmp_path / "beir/hotpotqa.zip", files)
    config = load_config(fullwiki(tmp_path))
    with pytest.raises(UserError, match=r"hotpotqa.zip has no member hotpotqa/qrels/test.tsv: the archive is not the"):
        prepare_collection(retrieval_tasks_of(config)["HotpotQA-fullwiki"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with zipfile.ZipFile(tmp_path / "beir/hotpotqa.zip") as archive:
        archive.extractall(tmp_path / "beir")
    with pytest.raises(
        UserError, match=r"beir has no hotpotqa/qrels/test.tsv, but others of its files: add it, or move"
    ):
        retrieval_tasks_of(config)


def test_what_is_scored_otherwise_is_not_searched_anew(tmp_path: Path) -> None:
    """Embeddings are gone then: to search anew would be to embed the collection again."""
    task = retrieval_tasks_of(config_of(tmp_path))["mine"]
    other = replace(task, metrics=("map",))
    assert (other.unscored, other.unsearched) == (task.unscored, task.unsearched)
    deeper = replace(task, depth=7, index="ivf", num_probes=3, precision="float16")
    assert (deeper.unscored == task.unscored, deeper.unsearched) == (False, task.unsearched)
    assert replace(task, header=False).unsearched != task.unsearched
    for job in ("prepare_collection", "embed_collection", "search_collection", "search_words"):
        modules = {path.name for path in _reached(REPOSITORY / "workflow_scripts" / f"{job}.py")}
        assert "retrieval.py" in modules
        assert not modules & {"retrieval_tasks.py", "tasks.py", "collections.yaml", "tasks.yaml"}


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
        ({"qrels.tsv": "q1\ta\t2.0\nq2\tb\t1\n"}, "qrels.tsv, line 1: the relevance '2.0' is no whole number"),
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
        ({"folder": "x"}, "retrieval_tasks.mine has queries and a folder, which has the files too: leave either out"),
        ({"queries": None, "passages": None, "judgements": None, "folder": "x"}, "mine.folder is 'x', which has no corpus.jsonl"),
        ({"queries": None, "passages": None, "judgements": None, "folder": "x" * 300}, "which has no corpus.jsonl"),
    ],
)  # fmt: skip
def test_entries_that_do_not_fit_are_refused(entry: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        retrieval_tasks_of(config_of(tmp_path, None, **entry))
