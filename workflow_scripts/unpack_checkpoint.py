"""Take the checkpoint out of a tar archive as fairseq publishes them."""

import shutil
import tarfile
from pathlib import Path

from cross_thought.errors import UserError
from cross_thought.files import atomic_file
from cross_thought.jobs import logged_job


def unpack_checkpoint(archive: Path, output: Path) -> None:
    """Write the archive's `model.pt`, whatever folder it is in.

    Raises:
        UserError: if the archive is damaged or has no `model.pt`.
    """
    try:
        with tarfile.open(archive) as tar, atomic_file(output) as partial:
            for member in tar:
                is_model = member.isfile() and Path(member.name).name == "model.pt"
                if is_model and (source := tar.extractfile(member)):
                    with open(partial, "wb") as file:
                        shutil.copyfileobj(source, file)
                    return
            raise UserError(f"{archive} has no model.pt: it is no archive of a fairseq checkpoint")
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive} is no sound tar archive ({error}): delete it and fetch it again") from error


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        unpack_checkpoint(Path(snakemake.input[0]), Path(snakemake.output[0]))
