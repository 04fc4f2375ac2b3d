"""Articles of a data set on Hugging Face's hub, streamed into a text file: too many to be fetched in one piece."""

import logging
import os

from cross_thought.data.transfer import Partial, explaining, noting
from cross_thought.errors import UserError

logger = logging.getLogger(__name__)


def transfer_articles(place: str, partial: Partial, *, timeout_s: float) -> None:
    """Write the articles of a data set with a `text` column as documents: lines that are not empty, then an empty one.

    It goes on after the last article that an earlier try noted, to the same bytes. The place is
    REPOSITORY/CONFIG@REVISION; `timeout_s` is told of one that stalled, for the library has limits of its own.

    Raises:
        TransferError: if the articles did not come to an end.
        UserError: if the library is not installed.
        OSError: if they cannot be written.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "this text comes through the `datasets` library: install it with pip, or use --use-conda"
        ) from error

    name, _, revision = place.partition("@")
    repository, _, config = name.rpartition("/")
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    source = {"place": place, "library": datasets.__version__}
    with explaining(url, timeout_s):
        rows = datasets.load_dataset(repository, config, revision=revision, split="train", streaming=True)
    origin = partial.origin
    goes_on = origin.items() >= source.items()
    if goes_on:
        logger.info("%s: goes on after %d documents", place, origin["documents"])
        rows.load_state_dict(origin["state"])
    num_documents = origin["documents"] if goes_on else 0

    def state() -> dict[str, object]:
        return {**source, "documents": num_documents, "state": rows.state_dict()}

    with partial.open(partial.num_bytes if goes_on else 0) as handle, noting(partial, handle, state) as note:
        articles = iter(rows)
        while True:
            with explaining(url, timeout_s):
                row = next(articles, None)
            if row is None:
                return
            lines = [line for line in row["text"].split("\n") if line.strip()]
            handle.write("\n".join([*lines, "", ""]).encode())
            num_documents += 1
            if note():
                logger.info("%s: %d documents", place, num_documents)
