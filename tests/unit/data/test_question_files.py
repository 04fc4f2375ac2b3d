"""Questions with passages in the forms of HotpotQA, Quasar-T and TREC-QA; real files where they are at hand."""

import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cross_thought.config import load_config
from cross_thought.data.glue import prepare_task
from cross_thought.data.prepared import NONE_RIGHT, Example, read_prepared
from cross_thought.data.raw_files import raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError
from cross_thought.evaluation.metrics import compute_metrics

REAL = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
HOTPOTQA = [
    {
        "_id": "a1",
        "question": "Which is  older?",
        "supporting_facts": [["Lake", 0], ["Mill", 1], ["Mill", 0]],
        "context": [["Lake", ["A lake.", " It is old."]], ["Boat", ["A boat."]], ["Mill", ["A mill.", " It burns."]]],
    },
    {"_id": "b2", "question": "Who?", "supporting_facts": [["Ann", 0]], "context": [["Ann", ["She is\na pilot."]]]},
]
QUESTIONS = [
    {"uid": "s0q1", "question": "Who won ?", "answer": "The  Cubs", "tags": ["sports"]},
    {"uid": "s0q2", "question": "What is it ?", "answer": "art", "tags": []},
]
PASSAGES = [
    {"uid": "s0q2", "contexts": [[0.9, "a party"], [0.5, "nothing"]]},
    {
        "uid": "s0q1",
        "contexts": [[1.25, "in 2016 the\tcubs won"], [1, "cubs , the"], [0, "THE CUBS"], [0, "the cubsies"]],
    },
]
TREC = """<QApairs id='1.1'>
<question>
Who\tis\tshe\t?
WP\tVBZ\tPRP\t.
</question>
<positive>
She\tis\tAnn\t.
PRP\tVBZ\tNNP\t.
</positive>
<negative>
He\tis\tBob\t&\tco
PRP
</negative>
</QApairs>
<QApairs id='1.2'>
<question>
Who\tis\tshe\t?
</question>
<negative>
Nobody\tis\t.
</negative>
</QApairs>
"""


def json_lines(items: list[dict]) -> bytes:
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def prepare(tmp_path: Path, name: str) -> dict[str, list[Example]]:
    """Prepare a task that ships from files in `tmp_path / "mine"`."""
    task = task_from_config(name, {})
    prepare_task(task, raw_files(task, data_dir=str(tmp_path / "mine")), tmp_path / "out")
    return {split: list(read_prepared(tmp_path / "out" / f"{split}.tsv")) for split in task.splits}


def judged(example: Example) -> dict[str, bool]:
    """Return whether each candidate is right."""
    numbers = set(example.label.split())
    candidates = [(str(number), text) for number, text in enumerate(example.sentences[1:], start=1) if text]
    assert numbers == {NONE_RIGHT} or numbers <= {number for number, _ in candidates}
    return {text: number in numbers for number, text in candidates}


def write_hotpotqa(folder: Path, items: list | str | bytes, dev: list | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = items if isinstance(items, str | bytes) else json.dumps(items)
    (folder / "hotpot_train_v1.1.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "hotpot_dev_distractor_v1.json").write_text(json.dumps(HOTPOTQA if dev is None else dev))


def test_hotpotqa(tmp_path: Path) -> None:
    write_hotpotqa(tmp_path / "mine" / "hotpotqa", HOTPOTQA)
    for examples in prepare(tmp_path, "HotpotQA").values():
        first, second = examples
        assert first.sentences[0] == "Which is  older?"
        assert judged(first) == {"Lake A lake. It is old.": True, "Boat A boat.": False, "Mill A mill. It burns.": True}
        assert judged(second) == {"Ann She is a pilot.": True}


def test_a_whole_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    write_hotpotqa(tmp_path / "mine" / "hotpotqa", [changed(HOTPOTQA[1], question="Who 🙂 \\ud83d?")])
    assert "\\ud83d\\ude42" in (tmp_path / "mine/hotpotqa/hotpot_train_v1.1.json").read_text()
    (only,) = prepare(tmp_path, "HotpotQA")["train"]
    assert only.sentences[0] == "Who 🙂 \\ud83d?"


def test_hotpotqas_gold_paragraphs_are_told_right(tmp_path: Path) -> None:
    path = REAL / "hotpotqa" / "hotpot_train_100.json"
    if not path.is_file():
        pytest.skip("HotpotQA's sample is not at hand")
    write_hotpotqa(tmp_path / "mine" / "hotpotqa", path.read_text(encoding="utf-8"))
    examples = prepare(tmp_path, "HotpotQA")["train"]
    items = json.loads(path.read_bytes())
    assert len(examples) == len(items) == 100
    for item, example in zip(items, examples, strict=True):
        gold = {title for title, _ in item["supporting_facts"]}
        # as the prepared text should be, written otherwise: a paragraph begins with its title, its words are the file's
        expected = {
            re.sub(r"\s+", " ", f"{title} {' '.join(sentences)}").strip(): title in gold
            for title, sentences in item["context"]
        }
        assert judged(example) == expected
        assert sum(expected.values()) == len(gold) == 2
        assert example.sentences[0] == item["question"].strip()
    # recall of three questions by hand: the file's order of paragraphs as the ranking
    task = task_from_config("HotpotQA", {"metrics": ["recall@2", "full_recall@2", "recall@4", "full_recall@4", "mrr"]})
    labels, rankings, firsts = [], [], []
    for item in items[:3]:
        gold = {title for title, _ in item["supporting_facts"]}
        places = [place for place, (title, _) in enumerate(item["context"], start=1) if title in gold]
        labels.append(" ".join(map(str, places)))
        rankings.append(" ".join(str(place) for place in range(1, len(item["context"]) + 1)))
        firsts.append(places)
    by_hand = {
        f"{name}@{k}": sum(share(sum(place <= k for place in places)) for places in firsts) / 3
        for k in (2, 4)
        for name, share in (("recall", lambda found: found / 2), ("full_recall", lambda found: float(found == 2)))
    }
    by_hand["mrr"] = sum(1 / places[0] for places in firsts) / 3
    assert compute_metrics(task, labels, rankings) == pytest.approx(by_hand)


def write_quasar(folder: Path, questions: list[dict], passages: list[dict]) -> None:
    for split in ("train", "dev", "test"):
        for name, items in (
            (f"questions/{split}_questions", questions),
            (f"contexts/short/{split}_contexts", passages),
        ):
            path = folder / "quasar-t" / f"{name}.json.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(json_lines(items)))


def test_quasar_t(tmp_path: Path) -> None:
    write_quasar(tmp_path / "mine", QUESTIONS, PASSAGES)
    splits = prepare(tmp_path, "Quasar-T")
    art, cubs = splits["test"]
    assert (art.sentences[0], judged(art)) == ("What is it ?", {"a party": False, "nothing": False})
    assert judged(cubs) == {"in 2016 the cubs won": True, "cubs , the": False, "THE CUBS": True, "the cubsies": False}
    assert [example.sentences[0] for example in splits["train"]] == ["Who won ?"]  # of the other nothing can be learnt
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["train"]["dropped"] == {"questions without a right candidate": 1}


def test_quasar_t_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.jsonl").write_bytes(json_lines(QUESTIONS))
    Path("p.jsonl").write_bytes(json_lines(PASSAGES))
    split = {"path": "p.jsonl", "questions": "{data_dir}/q.jsonl"}
    entry = {
        "files": {"train": split, "valid": dict(split)},
        "format": "quasar-t",
        "input_columns": ["question", "passage"],
        "question_id_column": "id",
        "label_column": "label",
        "labels": ["0", "1"],
        "right_label": "1",
        "metrics": ["ndcg@3"],
    }
    config = load_config({"data_dir": str(tmp_path), "tasks": {"mine": entry}})
    task = task_from_config("mine", config["tasks"]["mine"])
    assert prepare_task(task, raw_files(task, data_dir=str(tmp_path)), tmp_path / "out") == {"train": 1, "valid": 2}
    split["questions"] = "gone.jsonl"
    with pytest.raises(UserError, match=r"tasks.mine.files.train.questions is 'gone.jsonl', which is no file"):
        load_config({"tasks": {"mine": entry | {"files": {"train": split, "valid": "p.jsonl"}}}})


def write_trec(folder: Path, train: str) -> None:
    folder.mkdir(parents=True)
    names = ("train2393.cleanup.xml.gz", "dev-less-than-40.manual-edit.xml", "test-less-than-40.manual-edit.xml")
    with tarfile.open(folder / "jacana-qa-naacl2013-data-results.tar.bz2", "w:bz2") as archive:
        for name, text in zip(names, (train, TREC, TREC), strict=True):
            content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
            info = tarfile.TarInfo(f"jacana-qa-naacl2013-data-results/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_trec_qa_as_it_is_downloaded(tmp_path: Path) -> None:
    write_trec(tmp_path / "mine" / "trec-qa", TREC)
    splits = prepare(tmp_path, "TREC-QA")
    first, second = splits["valid"]  # two questions of the same text
    assert (first.sentences[0], judged(first)) == ("Who is she ?", {"She is Ann .": True, "He is Bob & co": False})
    assert (second.label, judged(second)) == (NONE_RIGHT, {"Nobody is .": False})
    assert [judged(example) for example in splits["train"]] == [judged(first)]


def changed(item: dict, **changes: object) -> dict:
    return {key: value for key, value in (item | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "HotpotQA",
            lambda f: write_hotpotqa(f / "hotpotqa", json.dumps({"data": HOTPOTQA})),
            "train_v1.1.json: no questions in the form 'hotpotqa'; give a file of that form, or set `format`",
        ),
        *(
            (
                "HotpotQA",
                lambda f, text=text: write_hotpotqa(
                    f / "hotpotqa", json.dumps([HOTPOTQA[0], changed(HOTPOTQA[1], question=text)])
                ),
                f"v1.1.json, question 2: half a surrogate pair in {text!r}, which is no character; mend the text",
            )
            for text in ("\udc00", "half \ud83d", "half \ud83dé", "\ud83d🙂")
        ),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(
                f / "hotpotqa", json.dumps([changed(HOTPOTQA[0], context=[["Lake", ["A \ud83d"]], ["Mill", [""]]])])
            ),
            "v1.1.json, question 1: half a surrogate pair in 'Lake A \\ud83d', which is no character; mend the text",
        ),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(f / "hotpotqa", '[{"_id": "é"}]'.encode("latin-1")),
            "v1.1.json: no JSON array of questions ('utf-8' codec can't decode byte 0xe9",
        ),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(
                f / "hotpotqa", [changed(HOTPOTQA[0], supporting_facts=[["Lake", 0], "Mill", ["Mill", 0]])]
            ),
            "v1.1.json, question 1: 'Mill' is no supporting fact, [title, number]; mend the file",
        ),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(f / "hotpotqa", "[{"),
            "v1.1.json: no JSON array of questions (Incomplete JSON content); fetch the file again",
        ),
        ("HotpotQA", lambda f: write_hotpotqa(f / "hotpotqa", [1]), "v1.1.json, question 1: no '_id', but 1; mend"),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(f / "hotpotqa", [HOTPOTQA[0], changed(HOTPOTQA[1], question=None)]),
            "v1.1.json, question 2: no 'question', but only _id, supporting_facts, context; mend the file",
        ),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(f / "hotpotqa", [changed(HOTPOTQA[0], context=[["Lake", "A lake."]])]),
            "v1.1.json, question 1: ['Lake', 'A lake.'] is no paragraph, [title, sentences]; mend the file",
        ),
        (
            "HotpotQA",
            lambda f: write_hotpotqa(f / "hotpotqa", HOTPOTQA, [changed(HOTPOTQA[1], supporting_facts=[["Bob", 0]])]),
            "distractor_v1.json, question 1: a supporting fact names 'Bob', no paragraph of the question; give the files of",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, QUESTIONS[:1], PASSAGES),
            "train_contexts.json.gz, line 1: the uid 's0q2' is none of ",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, QUESTIONS, PASSAGES[:1]),
            "train_contexts.json.gz: no passages for the uid 's0q1' of ",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, QUESTIONS, [PASSAGES[0], PASSAGES[0]]),
            "train_contexts.json.gz, line 2: the uid 's0q2' stands twice; give the two files of one split",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, [QUESTIONS[0], QUESTIONS[0]], PASSAGES),
            "train_questions.json.gz, line 2: the uid 's0q1' stands twice; leave one",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, QUESTIONS, [changed(PASSAGES[0], contexts=["a party"])]),
            "train_contexts.json.gz, line 1: 'a party' is no passage, [score, text]; mend the file",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, [changed(QUESTIONS[0], answer=["a"])], PASSAGES),
            "train_questions.json.gz, line 1: 'answer' is ['a'], which is no text; mend the file",
        ),
        (
            "Quasar-T",
            lambda f: write_quasar(f, QUESTIONS, [changed(PASSAGES[0], contexts=[[0.5, "\ud800"]])]),
            "train_contexts.json.gz, line 1: half a surrogate pair in '\\ud800', which is no character; mend the text",
        ),
        (
            "TREC-QA",
            lambda f: write_trec(f / "trec-qa", "Who is she ?\n"),
            "cleanup.xml.gz: no questions in the form 'trec-",
        ),
        (
            "TREC-QA",
            lambda f: write_trec(f / "trec-qa", TREC.replace("<negative>", "<negative >", 1)),
            "train2393.cleanup.xml.gz, line 10: '<negative >' is no tag as TREC-QA has them, <positive> or <QApairs id='1'>",
        ),
        (
            "TREC-QA",
            lambda f: write_trec(f / "trec-qa", TREC.replace("</QApairs>\n", "", 1)),
            "train2393.cleanup.xml.gz, line 14: the question before has no </QApairs>; mend the file",
        ),
        (
            "TREC-QA",
            lambda f: write_trec(f / "trec-qa", TREC.replace("Nobody\tis\t.\n", "")),
            "train2393.cleanup.xml.gz, line 20: '</negative>' where a negative's words should be; mend the file",
        ),
        (
            "TREC-QA",
            lambda f: write_trec(f / "trec-qa", TREC.replace("<question>\nWho", "Who", 1)),
            "train2393.cleanup.xml.gz, line 6: a positive outside of a question's <QApairs>; mend the file",
        ),
        (
            "TREC-QA",
            lambda f: write_trec(f / "trec-qa", TREC.removesuffix("</QApairs>\n")),
            "train2393.cleanup.xml.gz, line 21: the file ends within a question; fetch it again",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(
    name: str, write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "mine")
    with pytest.raises(UserError, match=re.escape(message)):
        prepare(tmp_path, name)
    assert not (tmp_path / "out").exists()
