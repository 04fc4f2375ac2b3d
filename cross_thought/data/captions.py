"""Multi30k's English captions: the five sentences about a picture are a document, and three tasks ask about pictures.

People wrote them without seeing each other's, so a document says one thing five times, in words of their own.
Source: the repository multi30k/dataset, `data/task2/raw` (Elliott et al., 2016); the pictures are Flickr30k's.
"""

import gzip
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cross_thought.data.raw_files import DOWNLOADS_DIR, own_or_download
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory

CAPTIONS_PER_PICTURE = 5
# our names of the splits, and the files' own
SPLITS = {"train": "train", "dev": "val", "test": "test_2016"}
NUM_PICTURES = {"train": 29_000, "dev": 1_014, "test": 1_000}
NUM_CANDIDATES = 8
# rows of a task's split; of retrieval, each picture's first caption with each of its others
NUM_PAIRS = {"train": 12_000, "dev": 2_000, "test": 2_000}
NUM_QUESTIONS = {"train": 6_000, "dev": 1_000, "test": 1_000}
MAX_DRAWS = 1000  # of a question, until its captions are different

Picture = tuple[str, ...]  # its captions


def caption_files(split: str) -> list[str]:
    """Return the names of a split's files in the table of downloads: line n of each is about picture n."""
    return [f"multi30k/{SPLITS[split]}.{number}.en.gz" for number in range(1, CAPTIONS_PER_PICTURE + 1)]


def with_caption_files(paths: Iterable[str], *, data_dir: str | None) -> list[str]:
    """Return paths, and in place of those of files that `write_captions` makes the fifteen that they are made of."""
    paths = list(paths)
    given = [path for path in paths if not path.startswith(f"{DOWNLOADS_DIR}/captions/")]
    if len(given) == len(paths):
        return given
    return given + [own_or_download(name, data_dir=data_dir) for split in SPLITS for name in caption_files(split)]


def read_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Read the captions of one split, from one gzip file for each of a picture's captions.

    Raises:
        UserError: if a file is missing, damaged or empty, has an empty line or a tab in one, or has not as many lines
            as the first.
    """
    columns = [_read_lines(path) for path in paths]
    for path, column in zip(paths, columns, strict=True):
        if len(column) != len(columns[0]):
            raise UserError(
                f"{path} has {len(column)} lines, {paths[0]} {len(columns[0])}: line n of each is about picture n; "
                "take the files of one version"
            )
    return list(zip(*columns, strict=True))


def _read_lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            lines = [line.removesuffix("\n").strip() for line in file]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it there, or leave it to the download") from None
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is no whole gzip file of UTF-8 text ({error}): fetch it again") from None
    empty = next((number for number, line in enumerate(lines, 1) if not line), 0 if lines else 1)
    if empty:
        raise UserError(f"{path}, line {empty} is empty: each line is a caption; fetch the file again")
    tab = next((number for number, line in enumerate(lines, 1) if "\t" in line), 0)
    if tab:
        raise UserError(f"{path}, line {tab} has a tab, which ends a column in the tasks' files: write a space there")
    return lines


def write_captions(output_dir: Path, pictures: Mapping[str, Sequence[Picture]], *, seed: int) -> None:
    """Write the corpus, a document for each picture, and the tasks, whole or not at all; a seed gives the same bytes.

    - `captions-same`: do two captions describe one picture? Half of the pairs do.
    - `captions-pick`: which of eight captions describes the picture of the first? The others are of other pictures.
    - `captions-find`, for embeddings, which may be tuned on train's: the first caption of each picture with each of
      its others, to be found among those of all pictures of the split.

    Nothing of one split's pictures, train's, dev's or test's, stands in another's files. In dev and test each picture
    is asked for by one pair of each answer and by one question (if their number is not that of the pictures: as often
    as any other), but stands beside other pictures as well, as the second of a pair or as a candidate: examples are not
    quite independent.

    Raises:
        UserError: if a split has fewer pictures than a question has candidates, or too many captions that are equal.
    """
    for split, captions in pictures.items():
        if len(captions) < NUM_CANDIDATES:
            raise UserError(
                f"multi30k: {len(captions)} pictures in {SPLITS[split]} are too few for questions with "
                f"{NUM_CANDIDATES} candidates: take the whole files"
            )
    with atomic_directory(output_dir) as folder:
        for split, captions in pictures.items():
            _write(folder / "corpus" / f"{split}.txt", _documents(captions))
            files = {
                "captions-same": (("caption1", "caption2", "same"), _pairs(captions, NUM_PAIRS[split], seed, split)),
                "captions-pick": (
                    ("caption", *(f"candidate{number}" for number in range(1, NUM_CANDIDATES + 1)), "answer"),
                    _questions(captions, NUM_QUESTIONS[split], seed, split),
                ),
                "captions-find": (("caption1", "caption2"), _others(captions)),
            }
            for task, (header, rows) in files.items():
                _write(folder / task / f"{split}.tsv", ("\t".join(row) for row in (header, *rows)))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _documents(pictures: Sequence[Picture]) -> Iterator[str]:
    for number, captions in enumerate(pictures):
        yield from ("", *captions) if number else captions


def _pairs(pictures: Sequence[Picture], size: int, seed: int, split: str) -> Iterator[tuple[str, ...]]:
    """Yield pairs, a yes and a no by turns; outside train a picture comes first as often as any other, second as well.

    The i-th of a permutation is paired with itself, and with the one after it.
    """
    generator = random.Random(f"captions-same {split} {seed}")
    order = [] if split == "train" else generator.sample(range(len(pictures)), min(len(pictures), size // 2))
    for number in range(size):
        if order:
            first, other = (order[place % len(order)] for place in (number // 2, number // 2 + 1))
        else:
            first, other = generator.sample(range(len(pictures)), 2)
        left, right = generator.sample(range(CAPTIONS_PER_PICTURE), 2)
        is_same = number % 2 == 0
        yield pictures[first][left], pictures[first if is_same else other][right], "yes" if is_same else "no"


def _questions(pictures: Sequence[Picture], size: int, seed: int, split: str) -> Iterator[tuple[str, ...]]:
    """Yield questions; outside train a picture is asked for as often as any other."""
    generator = random.Random(f"captions-pick {split} {seed}")
    order = [] if split == "train" else generator.sample(range(len(pictures)), len(pictures))
    for number in range(size):
        asked_for = order[number % len(order)] if order else None
        for _ in range(MAX_DRAWS):
            chosen = generator.sample(range(len(pictures)), NUM_CANDIDATES)
            if asked_for is not None:
                chosen = [asked_for, *(other for other in chosen if other != asked_for)][:NUM_CANDIDATES]
            question, answer = generator.sample(pictures[chosen[0]], 2)
            candidates = [answer, *(generator.choice(pictures[other]) for other in chosen[1:])]
            if len({question, *candidates}) > NUM_CANDIDATES:  # some short captions stand at several pictures
                break
        else:
            raise UserError(
                f"multi30k: {MAX_DRAWS} draws from {SPLITS[split]} gave no {NUM_CANDIDATES + 1} different captions for "
                f"a question, the last about {pictures[chosen[0]][0]!r}: the five captions of a picture must differ, "
                "and those of different pictures; take the files as published"
            )
        places = generator.sample(range(NUM_CANDIDATES), NUM_CANDIDATES)
        yield question, *(candidates[place] for place in places), str(places.index(0) + 1)


def _others(pictures: Sequence[Picture]) -> Iterator[tuple[str, str]]:
    for first, *others in pictures:
        yield from ((first, other) for other in others)
