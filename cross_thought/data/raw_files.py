"""Where the raw files of a task are: one's own under `data_dir`, then downloads, or those made for it here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cross_thought.data.definitions import STS, Split, Task
from cross_thought.data.sts_files import gold_file
from cross_thought.data.tasks import generator

DOWNLOADS_DIR = "results/downloads"


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """Where the rows of a split are read from.

    Attributes:
        path: a file, or a zip archive.
        more_paths: the files that follow it.
        member: the file inside the archive.
        more_members: those that follow it.
        ids_path: a file of id pairs that select rows by their 2nd and 3rd column (MRPC's dev set).
        keep_ids: whether the rows with these ids are kept, or the others.
        questions_path: the file of the questions, where that above has their passages alone.
        gold_paths: of pairs in the form STS, the files of their scores; none where an archive has them.
    """

    path: str
    more_paths: tuple[str, ...] = ()
    member: str | None = None
    more_members: tuple[str, ...] = ()
    ids_path: str | None = None
    keep_ids: bool = False
    questions_path: str | None = None
    gold_paths: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """Where rows stand, in the order in which they are read: each file, or the archive and a file inside."""
        if self.member is not None:
            return tuple((self.path, member) for member in (self.member, *self.more_members))
        return tuple((path, None) for path in self.paths)

    @property
    def paths(self) -> tuple[str, ...]:
        """All files with rows, in the order in which they are read."""
        return (self.path, *self.more_paths)

    @property
    def inputs(self) -> tuple[str, ...]:
        """All files that the rows are made of."""
        others = (path for path in (self.ids_path, self.questions_path) if path is not None)
        return (*self.paths, *self.gold_paths, *others)


def own_or_download(name: str, *, data_dir: str | None, downloads_dir: str = DOWNLOADS_DIR) -> str:
    """Return the path of a file of `resources/downloads.tsv`: one's own under `data_dir` if it is there."""
    if data_dir is not None and Path(data_dir, name).is_file():
        return str(Path(data_dir, name))
    return f"{downloads_dir}/{name}"


def raw_files(task: Task, *, data_dir: str | None, downloads_dir: str = DOWNLOADS_DIR) -> dict[str, RawFile]:
    """Return where each split of a task is read from, by split; one's own files under `data_dir` go first."""
    maker = generator(task)
    if maker is not None:
        folder = f"{downloads_dir}/{maker}/{task.name}"
        return {name: RawFile(path=f"{folder}/{split.file}") for name, split in task.splits.items()}
    found = {}
    for name, split in task.splits.items():
        if task.folder is None and task.archive is None and split.download is None:
            found[name] = replace(_in_place(split.files, split), questions_path=split.questions)
            continue
        own = _own_files(task, split, data_dir)
        raw_file = _in_place(own, split) if own else _published(task, split, data_dir, downloads_dir)
        if split.questions is not None:
            questions = own_or_download(split.questions, data_dir=data_dir, downloads_dir=downloads_dir)
            raw_file = replace(raw_file, questions_path=questions)
        found[name] = raw_file
    return found


def _in_place(paths: Sequence[str], split: Split) -> RawFile:
    """Return files that lie in no archive."""
    gold_paths = tuple(map(gold_file, paths)) if split.format == STS else ()
    return RawFile(path=paths[0], more_paths=tuple(paths[1:]), gold_paths=gold_paths)


def missing_files(task: Task, *, data_dir: str | None) -> list[str]:
    """Name the files below `data_dir` that a task is downloaded for the lack of, though others of it are there."""
    if task.folder is None or data_dir is None:
        return []
    wanted = [file for split in task.splits.values() for file in split.files]
    lacking = [file for file in wanted if not Path(data_dir, task.folder, file).is_file()]
    is_at_hand = all(Path(data_dir, name).is_file() for name in task.downloads)
    if is_at_hand or len(lacking) == len(wanted):
        return []
    return [f"{task.folder}/{file}" for file in dict.fromkeys(lacking)]


def _published(task: Task, split: Split, data_dir: str | None, downloads_dir: str) -> RawFile:
    """Return a split's published file, or the archive that it is in."""

    def place(name: str) -> str:
        return own_or_download(name, data_dir=data_dir, downloads_dir=downloads_dir)

    if split.download is not None:
        ids_path = None if split.ids is None else place(split.ids)
        return RawFile(path=place(split.download), ids_path=ids_path, keep_ids=split.keep_ids)
    folder = "" if task.archive_folder is None else f"{task.archive_folder}/"
    members = tuple(f"{folder}{file}" for file in split.files)
    return RawFile(path=place(task.archive or ""), member=members[0], more_members=members[1:])


def _own_files(task: Task, split: Split, data_dir: str | None) -> list[str] | None:
    """Return the split's own files under `data_dir` if all of them are there."""
    if data_dir is None:
        return None
    # MRPC's cut files are made by everybody's own script, and copies that lack a row are about: the sources go first
    has_ids = any(other.ids for other in task.splits.values())
    if has_ids and all(Path(data_dir, name).is_file() for name in task.downloads):
        return None
    paths = [Path(data_dir, task.folder or "", file) for file in split.files]
    return list(map(str, paths)) if all(path.is_file() for path in paths) else None
