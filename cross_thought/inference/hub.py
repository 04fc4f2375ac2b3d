"""Exports by their name on Hugging Face's hub: data alone is fetched, into the hub's own cache on this machine."""

from pathlib import Path

from cross_thought.data.hub_names import hub_name
from cross_thought.errors import UserError

_DATA = ("*.json", "*.safetensors")  # no code, and no pickles


def fetched(path: Path, revision: str | None = None) -> Path:
    """Return a path as it is if there is such a file or folder, else the local copy of the hub's export of that name.

    `revision` is a branch, a tag or a commit of the hub's; None: its newest.

    Raises:
        UserError: if the hub cannot be reached and has not been asked before, or has no such model or revision; if
            `revision` is given with a path.
    """
    name = hub_name(str(path))
    if path.exists() or name is None or name["revision"] is not None:
        if revision is not None:
            raise UserError(
                f"revision {revision!r} is for a name on Hugging Face's hub, and {path} is a path: leave it out"
            )
        return path
    from huggingface_hub import constants, snapshot_download  # late: most models are on the disk
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    missing = f"{path} is no file or folder here, and"
    try:
        folder = snapshot_download(
            str(path),
            revision=revision,
            allow_patterns=list(_DATA),
            endpoint=constants.ENDPOINT,
            cache_dir=constants.HF_HUB_CACHE,
        )
        return Path(folder)
    except RepositoryNotFoundError:
        remedy = "correct it; if it is private, log in first (`hf auth login`)"
        raise UserError(f"{missing} {constants.ENDPOINT} has no model of that name: {remedy}") from None
    except RevisionNotFoundError:
        raise UserError(f"{constants.ENDPOINT}/{path} has no revision {revision!r}: correct it") from None
    except LocalEntryNotFoundError:
        raise UserError(
            f"{missing} {constants.ENDPOINT} cannot be reached or HF_HUB_OFFLINE is set, nor was it fetched before: "
            f"fetch it elsewhere (`hf download {path} --local-dir FOLDER`) and give that folder"
        ) from None
    except Exception as error:  # the library's, its client's, the disk's
        raise UserError(f"{path} cannot be fetched from {constants.ENDPOINT} ({error}): try again") from None
