"""Rows of token ids in batches for a device."""

from collections.abc import Iterator, Sequence

_TOKENS = {"cpu": 1 << 11, "cuda": 1 << 15}  # that are computed at once
_TOKENS_ELSEWHERE = 1 << 13


def token_batches(rows: Sequence[Sequence[int]], batch_tokens: int | None, *, device: str) -> Iterator[list[int]]:
    """Yield numbers of rows, longest first, in batches of at most so many tokens, padding included.

    A longer row is a batch. None: as many tokens as suit this type of device.
    """
    if batch_tokens is None:
        batch_tokens = _TOKENS.get(device, _TOKENS_ELSEWHERE)
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number]), reverse=True):
        if batch and (len(batch) + 1) * len(rows[batch[0]]) > batch_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
