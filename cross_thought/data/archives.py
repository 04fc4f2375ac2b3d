"""Files out of tar archives, as fairseq publishes its models."""

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from cross_thought.errors import UserError
from cross_thought.files import atomic_file


def unpack(archive: Path, folder: Path, *, required: str, optional: Iterable[str] = ()) -> None:
    """Write files of an archive, whatever folder of it they are in, into a folder.

    Args:
        archive: packed or not.
        folder: where they go.
        required: a name that must be there.
        optional: further names.

    Raises:
        UserError: if the archive is damaged or lacks the file that must be there.
    """
    wanted = {required, *optional}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if name in wanted and member.isfile() and (source := tar.extractfile(member)):
                    with atomic_file(folder / name) as partial, open(partial, "wb") as file:
                        shutil.copyfileobj(source, file)
                    wanted.remove(name)
                if not wanted:
                    return
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive} is no sound tar archive ({error}): delete it and fetch it again") from error
    if required in wanted:
        raise UserError(f"{archive} has no {required}: it is no archive of a fairseq checkpoint")
