"""The binary files of fairseq's data sets, written and read without fairseq.

The format is that of fairseq 0.10.0's `MMapIndexedDatasetBuilder`: a `.bin` of ids, each item ended by `</s>`, and an
`.idx` of item lengths and places.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from cross_thought.errors import UserError

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_HEADER = struct.Struct("<9sQBQ")  # magic, version, type of the ids, number of items
_DTYPE_CODES: dict[np.dtype, int] = {np.dtype(np.uint16): 8, np.dtype(np.int32): 4}  # fairseq's numbers for them
_LARGEST_16_BIT_DICTIONARY = 65500  # fairseq's bound, exclusive


class DatasetWriter:
    """Writes `PREFIX.bin` and, on leaving, `PREFIX.idx`.

    Args:
        prefix: path without the suffix.
        dictionary_size: symbols of fairseq's dictionary as read from the file, without `<mask>`.
    """

    def __init__(self, prefix: Path, *, dictionary_size: int) -> None:
        self.prefix = prefix
        self.dtype = id_dtype(dictionary_size)
        self._sizes: list[np.ndarray] = []

    def __enter__(self) -> "DatasetWriter":
        self._bin: IO[bytes] = open(self.prefix.with_name(self.prefix.name + ".bin"), "wb")
        return self

    def __exit__(self, exception_type: type | None, *_: object) -> None:
        self._bin.close()
        if exception_type is None:
            self._write_index()

    def write(self, ids: np.ndarray, sizes: np.ndarray) -> None:
        """Append items: the ids of all of them, shape (sum of sizes,), and their sizes, shape (num_items,)."""
        self._bin.write(np.ascontiguousarray(ids, self.dtype).data)
        self._sizes.append(sizes.astype(np.int32))

    @property
    def num_items(self) -> int:
        """Items written so far."""
        return sum(map(len, self._sizes))

    @property
    def num_ids(self) -> int:
        """Ids written so far, `</s>` included."""
        return sum(int(sizes.sum(dtype=np.int64)) for sizes in self._sizes)

    def _write_index(self) -> None:
        with open(self.prefix.with_name(self.prefix.name + ".idx"), "wb") as index:
            index.write(_HEADER.pack(_MAGIC, _VERSION, _DTYPE_CODES[self.dtype], self.num_items))
            for sizes in self._sizes:
                index.write(sizes.data)
            start = 0
            for sizes in self._sizes:
                ends = start + np.cumsum(sizes, dtype=np.int64) * self.dtype.itemsize
                index.write(np.concatenate(([start], ends[:-1])).astype(np.int64).data)
                start = int(ends[-1])


def read_dataset(prefix: Path) -> Iterator[np.ndarray]:
    """Yield the items of a dataset, each as its ids, shape (size,), `</s>` included.

    Args:
        prefix: path of the `.bin` and `.idx` without the suffix.

    Raises:
        UserError: if one is not there, or they are no such dataset.
    """
    sizes, content = _open_dataset(prefix)
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    for size, start in zip(sizes.tolist(), starts.tolist(), strict=True):
        yield content[start : start + size]


def read_sizes(prefix: Path) -> np.ndarray:
    """Return how many ids each item of a dataset has, `</s>` included, shape (num_items,).

    Args and Raises are those of `read_dataset`.
    """
    return _open_dataset(prefix)[0]


def _open_dataset(prefix: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes of the items, shape (num_items,), and all ids, left on the disk, shape (sum of sizes,)."""
    try:
        index = prefix.with_name(prefix.name + ".idx").read_bytes()
        data = prefix.with_name(prefix.name + ".bin")
        content = np.memmap(data, np.uint8, "r") if data.stat().st_size else np.empty(0, np.uint8)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not there: binarize the data again") from None
    try:
        magic, version, code, num_items = _HEADER.unpack_from(index)
        dtype = {number: dtype for dtype, number in _DTYPE_CODES.items()}[code]
        sizes = np.frombuffer(index, np.int32, num_items, _HEADER.size)
        starts = np.frombuffer(index, np.int64, num_items, _HEADER.size + sizes.nbytes)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ValueError("another format")
    except (struct.error, KeyError, ValueError):
        raise UserError(f"{prefix}.idx is damaged: binarize the data again") from None
    bounds = np.cumsum(np.append(0, sizes), dtype=np.int64) * dtype.itemsize
    if content.size != bounds[-1] or not np.array_equal(starts, bounds[:-1]):
        raise UserError(f"{prefix}.bin or .idx is damaged: binarize the data again")
    return sizes, content.view(dtype)


def id_dtype(dictionary_size: int) -> np.dtype:
    """Return the number type that fairseq's preprocess stores ids in."""
    return np.dtype(np.uint16 if dictionary_size < _LARGEST_16_BIT_DICTIONARY else np.int32)
