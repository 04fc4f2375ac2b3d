"""The captions' corpus and tasks."""

import gzip
import os
from pathlib import Path

import pytest

from cross_thought.data import captions
from cross_thought.data.captions import caption_files, read_pictures, with_caption_files, write_captions
from cross_thought.data.glue import prepare_task
from cross_thought.data.raw_files import raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))


def pictures(split: str, count: int) -> list[tuple[str, ...]]:
    return [tuple(f"{split} picture {number} caption {c}" for c in range(5)) for number in range(count)]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sizes = {"train": 60, "dev": 20, "test": 20}
    monkeypatch.setattr(captions, "NUM_PAIRS", sizes)
    monkeypatch.setattr(captions, "NUM_QUESTIONS", sizes)
    write_captions(tmp_path / "made", {split: pictures(split, 12) for split in sizes}, seed=1)
    return tmp_path / "made"


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def picture_of(caption: str) -> str:
    return caption.split(" caption ")[0]


def test_a_picture_is_a_document(made: Path) -> None:
    documents = (made / "corpus" / "dev.txt").read_text(encoding="utf-8").split("\n\n")
    assert [document.strip().splitlines() for document in documents] == [list(p) for p in pictures("dev", 12)]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_half_of_the_pairs_are_of_one_picture(made: Path, split: str) -> None:
    header, *pairs = rows(made / "captions-same" / f"{split}.tsv")
    assert header == ["caption1", "caption2", "same"]
    assert [row[2] for row in pairs].count("yes") == len(pairs) / 2
    for left, right, same in pairs:
        assert left != right
        assert (picture_of(left) == picture_of(right)) == (same == "yes")
        assert left.startswith(split)
        assert right.startswith(split)


def test_one_candidate_is_of_the_questions_picture(made: Path) -> None:
    header, *questions = rows(made / "captions-pick" / "dev.tsv")
    assert len(header) == 10
    assert len(questions) == 20
    for question, *candidates, answer in questions:
        assert [n for n, c in enumerate(candidates, 1) if picture_of(c) == picture_of(question)] == [int(answer)]
        assert len({question, *candidates}) == 9
    assert len({row[-1] for row in questions}) > 3


@pytest.mark.parametrize("split", ["dev", "test"])
def test_each_picture_is_asked_for_once(split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "NUM_PAIRS", {split: 24})
    monkeypatch.setattr(captions, "NUM_QUESTIONS", {split: 12})
    write_captions(tmp_path / "made", {split: pictures(split, 12)}, seed=1)
    everyone = {picture_of(picture[0]) for picture in pictures(split, 12)}
    _, *questions = rows(tmp_path / f"made/captions-pick/{split}.tsv")
    assert {picture_of(row[0]) for row in questions} == everyone
    _, *pairs = rows(tmp_path / f"made/captions-same/{split}.tsv")
    for answer in ("yes", "no"):
        for side in (0, 1):
            assert {picture_of(row[side]) for row in pairs if row[2] == answer} == everyone
    assert [picture_of(row[0]) for row in questions] != sorted(everyone)


def test_equal_captions_end_in_one_sentence(tmp_path: Path) -> None:
    same = [tuple(f"caption {c}" for c in range(5)) for _ in range(12)]
    copied = [(f"picture {number}",) * 5 for number in range(12)]  # one file under five names
    for splits in ({"train": same}, {"dev": same}, {"train": copied}, {"test": copied}):
        with pytest.raises(UserError, match=r"gave no 9 different captions .* take the files as published"):
            write_captions(tmp_path / "made", splits, seed=1)
        assert not (tmp_path / "made").exists()


def test_the_first_caption_looks_for_the_others(made: Path) -> None:
    _, *pairs = rows(made / "captions-find" / "test.tsv")
    assert len(pairs) == 12 * 4
    assert pairs[4:8] == [[pictures("test", 12)[1][0], caption] for caption in pictures("test", 12)[1][1:]]


@pytest.mark.parametrize("name", ["captions-same", "captions-pick", "captions-find"])
def test_the_readers_take_the_files(name: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / "captions").symlink_to(made, target_is_directory=True)
    task = task_from_config(name, {"check_rows": False}, section="embedding_tasks")
    found = raw_files(task, data_dir=None, downloads_dir=str(tmp_path))
    counts = prepare_task(task, found, tmp_path / "prepared")
    finds = dict.fromkeys(("train", "valid", "test"), 12 * 4)
    assert counts == (finds if name == "captions-find" else {"train": 60, "valid": 20, "test": 20})


def test_the_same_seed_gives_the_same_bytes_another_gives_others(tmp_path: Path) -> None:
    splits = {split: pictures(split, 30) for split in ("train", "dev", "test")}
    for folder, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_captions(tmp_path / folder, splits, seed=seed)
    files = ["captions-same/train.tsv", "captions-pick/test.tsv"]
    for file in files:
        first, again, other = ((tmp_path / folder / file).read_bytes() for folder in ("first", "again", "other"))
        assert first == again != other


def test_what_is_made_of_the_files_stands_for_them(tmp_path: Path) -> None:
    own = tmp_path / "multi30k/val.2.en.gz"
    own.parent.mkdir()
    own.touch()
    found = with_caption_files(["a.txt", "results/downloads/captions/corpus/dev.txt"], data_dir=str(tmp_path))
    assert found[0] == "a.txt"
    assert len(found) == 1 + 15
    assert str(own) in found
    assert "results/downloads/multi30k/val.1.en.gz" in found
    assert with_caption_files(["a.txt"], data_dir=None) == ["a.txt"]


def write_gzip(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode("utf-8")))
    return path


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = write_gzip(tmp_path / "train.1.en.gz", "a\nb\n")
    for text, message in (
        ("a\nb\tc\n", r"short\.gz, line 2 has a tab, .*: write a space there"),
        ("a\n", r"short\.gz has 1 lines, .*train\.1\.en\.gz 2"),
        ("a\n\nb\n", r"short\.gz, line 2 is empty"),
        ("", r"short\.gz, line 1 is empty"),
    ):
        with pytest.raises(UserError, match=message):
            read_pictures([whole, write_gzip(tmp_path / "short.gz", text)])
    (tmp_path / "cut.gz").write_bytes(whole.read_bytes()[:-6])
    with pytest.raises(UserError, match=r"cut\.gz is no whole gzip file"):
        read_pictures([tmp_path / "cut.gz"])
    (tmp_path / "text.gz").write_text("a\n")
    with pytest.raises(UserError, match=r"text\.gz is no whole gzip file"):
        read_pictures([tmp_path / "text.gz"])
    with pytest.raises(UserError, match=r"none\.gz is missing"):
        read_pictures([tmp_path / "none.gz"])
    with pytest.raises(UserError, match="7 pictures in val are too few"):
        write_captions(tmp_path / "few", {"dev": pictures("dev", 7)}, seed=1)
    assert not (tmp_path / "few").exists()


def test_the_real_files_have_the_pictures_that_they_should() -> None:
    folder = REAL_DATA / "multi30k"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    for split in ("dev", "test"):
        found = read_pictures([folder / Path(name).name for name in caption_files(split)])
        assert len(found) == captions.NUM_PICTURES[split]
        assert all(len(picture) == 5 for picture in found)
