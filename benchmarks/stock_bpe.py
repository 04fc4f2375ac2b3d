"""The stock BPE step in plain Python: what fairseq 0.10.0's example script does, whose folder its package lacks.

One process a worker, 100 lines a parcel, ids written as text: `python stock_bpe.py VOCABULARY TEXT OUTPUT WORKERS`.
"""

import itertools
import json
import multiprocessing
import sys
from pathlib import Path

import regex

# GPT-2's cutting of text into words, which merges never cross
_WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def byte_symbols() -> dict[int, str]:
    """Map each byte to the printable character that GPT-2's files write for it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in symbols]
    return symbols | {byte: chr(256 + place) for place, byte in enumerate(others)}


class StockEncoder:
    """Byte-level BPE as GPT-2 published it, with its cache of words.

    Args:
        vocabulary: folder of encoder.json and vocab.bpe.
    """

    def __init__(self, vocabulary: Path) -> None:
        self.ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
        lines = (vocabulary / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
        self.symbols = byte_symbols()
        self.cache: dict[str, list[str]] = {}

    def merge(self, word: str) -> list[str]:
        """Cut one word into BPE symbols: the pair with the lowest rank is merged until none is left."""
        if word in self.cache:
            return self.cache[word]
        parts = list(word)
        while len(parts) > 1:
            pairs = set(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, float("inf")))
            if best not in self.ranks:
                break
            merged: list[str] = []
            index = 0
            while index < len(parts):
                if tuple(parts[index : index + 2]) == best:
                    merged.append(parts[index] + parts[index + 1])
                    index += 2
                else:
                    merged.append(parts[index])
                    index += 1
            parts = merged
        self.cache[word] = parts
        return parts

    def encode(self, text: str) -> list[int]:
        """Return the BPE ids of a text."""
        ids: list[int] = []
        for word in _WORDS.findall(text):
            ids.extend(self.ids[part] for part in self.merge("".join(self.symbols[byte] for byte in word.encode())))
        return ids


_encoder: StockEncoder | None = None


def _start_worker(vocabulary: Path) -> None:
    global _encoder
    _encoder = StockEncoder(vocabulary)


def _encode_line(line: str) -> str:
    return " ".join(map(str, _encoder.encode(line.strip())))


def encode_file(vocabulary: Path, text: Path, output: Path, *, workers: int) -> None:
    """Encode a text file line by line, empty lines kept."""
    with (
        open(text, encoding="utf-8") as lines,
        open(output, "w", encoding="utf-8") as out,
        multiprocessing.Pool(workers, initializer=_start_worker, initargs=(vocabulary,)) as pool,
    ):
        for encoded in pool.imap(_encode_line, lines, chunksize=100):
            print(encoded, file=out)


if __name__ == "__main__":
    encode_file(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), workers=int(sys.argv[4]))
