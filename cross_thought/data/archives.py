"""Files out of archives: of tar, as fairseq publishes its models; of zip, as a run is archived."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from cross_thought.errors import UserError, environment_error, shown
from cross_thought.files import atomic_file


def unpack(archive: Path, folder: Path, *, required: str, optional: Iterable[str] = ()) -> None:
    """Write files of a tar archive, packed or not, whatever folder of it they are in, into a folder.

    `required` is a name that must be there, `optional` are further ones.

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


def unpack_zip(archive: Path, folder: Path, *, kind: str, required: Iterable[str], max_bytes: int) -> None:
    """Unpack a zip that anyone may have made into a folder, whole.

    `required` are names that must be there, `max_bytes` is what all of it may take, and messages call it a `kind`.

    Raises:
        UserError: if it is no sound zip, lacks a file that must be there, has one that would lie outside the folder, or
            takes too much.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            missing = next((name for name in required if name not in names), None)
            outside = next((name for name in names if _leads_out(name)), None)
            size = sum(member.file_size for member in packed.infolist())
            if missing is not None:
                raise UserError(f"{archive} is no {kind} (it has no {missing}): name one")
            if outside is not None:
                raise UserError(
                    f"{archive} is no {kind} (its file {shown(outside)} would lie outside the folder): name one"
                )
            if size > max_bytes:
                raise UserError(
                    f"{archive} unpacks to {size / 1e9:.1f} GB, more than the {max_bytes / 1e9:g} that are allowed: if "
                    "you trust it, unpack it yourself and name the folder of its results"
                )
            packed.extractall(folder)
    except UserError:
        raise
    except Exception as error:  # zipfile stumbles over damage in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise environment_error(error) or UserError(f"{archive} is no {kind} ({reason}): name one") from error


def _leads_out(name: str) -> bool:
    """Whether a member's path is absolute, on any system, or goes up."""
    path = PureWindowsPath(name)  # knows both kinds of slashes, and drives
    return bool(path.anchor) or ".." in path.parts
