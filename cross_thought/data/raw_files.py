"""Where the raw files of a task are: one's own under `data_dir`, then downloads, or those made for it here."""

from dataclasses import dataclass, replace
from pathlib import Path

from cross_thought.data.definitions import Split, Task
from cross_thought.data.tasks import generator


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """Where the rows of a split are read from.

    Attributes:
        path: a file, or a zip archive.
        more_paths: the files that follow it.
        member: the file inside the archive.
        ids_path: a file of id pairs that select rows by their 2nd and 3rd column (MRPC's dev set).
        keep_ids: whether the rows with these ids are kept, or the others.
        questions_path: the file of the questions, where that above has their passages alone.
    """

    path: str
    more_paths: tuple[str, ...] = ()
    member: str | None = None
    ids_path: str | None = None
    keep_ids: bool = False
    questions_path: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All files with rows, in the order in which they are read."""
        return (self.path, *self.more_paths)

    @property
    def inputs(self) -> tuple[str, ...]:
        """All files that the rows are made of."""
        return (*self.paths, *(path for path in (self.ids_path, self.questions_path) if path is not None))


def own_or_download(name: str, *, data_dir: str | None, downloads_dir: str = "results/downloads") -> str:
    """Return the path of a file of `resources/downloads.tsv`: one's own under `data_dir` if it is there."""
    if data_dir is not None and Path(data_dir, name).is_file():
        return str(Path(data_dir, name))
    return f"{downloads_dir}/{name}"


def raw_files(task: Task, *, data_dir: str | None, downloads_dir: str = "results/downloads") -> dict[str, RawFile]:
    """Return where each split of a task is read from, by split; one's own files under `data_dir` go first."""
    maker = generator(task)
    if maker is not None:
        folder = f"{downloads_dir}/{maker}/{task.name}"
        return {name: RawFile(path=f"{folder}/{split.file}") for name, split in task.splits.items()}
    found = {}
    for name, split in task.splits.items():
        if task.folder is None and task.archive is None and split.download is None:
            found[name] = RawFile(path=split.file, more_paths=split.more_files, questions_path=split.questions)
            continue
        own = _own_file(task, split, data_dir)
        raw_file = RawFile(path=own) if own else _published(task, split, data_dir, downloads_dir)
        if split.questions is not None:
            questions = own_or_download(split.questions, data_dir=data_dir, downloads_dir=downloads_dir)
            raw_file = replace(raw_file, questions_path=questions)
        found[name] = raw_file
    return found


def missing_files(task: Task, *, data_dir: str | None) -> list[str]:
    """Name the files below `data_dir` that a task is downloaded for the lack of, though others of it are there."""
    if task.folder is None or data_dir is None:
        return []
    lacking = [split.file for split in task.splits.values() if _own_file(task, split, data_dir) is None]
    is_at_hand = all(Path(data_dir, name).is_file() for name in task.downloads)
    if is_at_hand or len(lacking) == len(task.splits):
        return []
    return [f"{task.folder}/{file}" for file in dict.fromkeys(lacking)]


def _published(task: Task, split: Split, data_dir: str | None, downloads_dir: str) -> RawFile:
    """Return a split's published file, or the archive that it is in."""

    def place(name: str) -> str:
        return own_or_download(name, data_dir=data_dir, downloads_dir=downloads_dir)

    if split.download is not None:
        ids_path = None if split.ids is None else place(split.ids)
        return RawFile(path=place(split.download), ids_path=ids_path, keep_ids=split.keep_ids)
    member = split.file if task.archive_folder is None else f"{task.archive_folder}/{split.file}"
    return RawFile(path=place(task.archive or ""), member=member)


def _own_file(task: Task, split: Split, data_dir: str | None) -> str | None:
    """Return the split's own file under `data_dir` if it is there."""
    if data_dir is None:
        return None
    # MRPC's cut files are made by everybody's own script, and copies that lack a row are about: the sources go first
    has_ids = any(other.ids for other in task.splits.values())
    if has_ids and all(Path(data_dir, name).is_file() for name in task.downloads):
        return None
    path = Path(data_dir, task.folder or "", split.file)
    return str(path) if path.is_file() else None
