"""BPE and binarization: ours beside the stock path, on the same text, with the same workers.

    python -m benchmarks.data --text wiki.train.raw --vocabulary gpt2_bpe --megabytes 100

Stock: fairseq's BPE example script (its plain equivalent in stock_bpe.py, as PyPI's package lacks it), then fairseq's
own `preprocess`. Each step is a process of its own, timed from start to end with its imports; the memory is the sum of
it and its children (PSS: shared pages count once). The files must come out the same, byte for byte.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from cross_thought.errors import exit_on_user_error
from cross_thought.files import check_output

REPOSITORY = Path(__file__).parents[1]
ENCODE = """
import sys
from pathlib import Path
from cross_thought.data.bpe import encode_file
encode_file(Path(sys.argv[1]), Path(sys.argv[2]), vocabulary=Path(sys.argv[3]), workers=int(sys.argv[4]))
"""
BINARIZE = """
import sys
from pathlib import Path
from cross_thought.data.binarize import binarize_corpus
binarize_corpus({"train": Path(sys.argv[1])}, Path(sys.argv[2]), Path(sys.argv[3]))
"""
_NEW_WORD_EVERY = 7
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a step took: seconds from start to end, and the highest memory of all its processes in MB."""

    seconds: float
    peak_mb: float


def measure(*command: object) -> Measurement:
    """Run a process and measure it."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        _, errors = process.communicate()
        seconds = time.perf_counter() - started
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command[:3]} ended with status {process.returncode}: {errors}")
    return Measurement(seconds=seconds, peak_mb=peak[0] / 1e6)


def _watch(process: subprocess.Popen, peak: list[int]) -> None:
    """Write the highest memory seen into `peak` until the process ends."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for member in (root, *root.children(recursive=True)):
                total += member.memory_full_info().pss
        except psutil.Error:  # one of them has just ended
            continue
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


def write_text(path: Path, *, source: Path | None, num_bytes: int, fresh: bool) -> None:
    """Write the text to encode.

    Args:
        path: the file to write.
        source: text to take lines or words from; None: made-up words, spread as words are.
        num_bytes: its size, to the next line.
        fresh: draw new lines out of the source's words, with a word never seen in every seventh place; else repeat it.
    """
    if source is not None and not fresh:
        text = source.read_bytes()
        lines = (text * (num_bytes // len(text) + 1))[: num_bytes + 1]
        path.write_bytes(lines[: lines.rfind(b"\n") + 1])
        return
    generator = np.random.default_rng(1)
    if source is None:
        words = np.array(["".join(generator.choice(_LETTERS, generator.integers(1, 10))) for _ in range(20_000)])
        weights = 1 / np.arange(1, len(words) + 1)
        weights /= weights.sum()
    else:
        words, counts = np.unique(source.read_text(encoding="utf-8").split(), return_counts=True)
        weights = counts / counts.sum()
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < num_bytes:
            block = generator.choice(words, 200_000, p=weights).astype(object)
            letters = generator.choice(_LETTERS, (len(block[::_NEW_WORD_EVERY]), 9))
            lengths = generator.integers(3, 10, len(letters))
            block[::_NEW_WORD_EVERY] = ["".join(row[:n]) for row, n in zip(letters, lengths, strict=True)]
            cuts = np.cumsum(generator.integers(5, 60, 10_000))
            lines = [" ".join(part) for part in np.split(block, cuts[cuts < len(block)])]
            written += file.write("\n".join(lines) + "\n\n")


def compare(text: Path, vocabulary: Path, folder: Path, *, workers: int, stock: bool) -> dict:
    """Measure ours and, unless told not to, the stock path; return all figures."""
    encoded, ours, bpe_text, theirs = (folder / name for name in ("encoded", "ours", "text.bpe", "theirs"))
    figures = {
        "megabytes": text.stat().st_size / 1e6,
        "workers": workers,
        "our_bpe": measure("-c", ENCODE, text, encoded, vocabulary, workers),
        "our_binarize": measure("-c", BINARIZE, encoded, vocabulary, ours),
    }
    if stock:
        figures["stock_bpe"] = measure("benchmarks/stock_bpe.py", vocabulary, text, bpe_text, workers)
        dictionary = vocabulary / "dict.txt"
        figures["stock_preprocess"] = measure(
            *("-m", "cross_thought.fairseq", "preprocess", "--only-source", "--srcdict", dictionary),
            *("--trainpref", bpe_text, "--destdir", theirs, "--workers", workers),
        )
        names = ("dict.txt", "train.bin", "train.idx")
        figures["same_bytes"] = all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names)
        figures["times_faster"] = seconds(figures, "stock_bpe", "stock_preprocess") / seconds(
            figures, "our_bpe", "our_binarize"
        )
    return figures


def seconds(figures: dict, *steps: str) -> float:
    """Return the seconds of some steps together."""
    return sum(figures[step].seconds for step in steps)


def report(figures: dict) -> str:
    """Return the figures as a table."""
    lines = [
        f"{figures['megabytes']:.0f} MB of text, {figures['workers']} workers",
        "step               seconds   peak MB",
    ]
    for step in ("stock_bpe", "stock_preprocess", "our_bpe", "our_binarize"):
        if step in figures:
            lines.append(f"{step:<18} {figures[step].seconds:>7.1f}   {figures[step].peak_mb:>7.0f}")
    if "times_faster" in figures:
        lines.append(f"ours is {figures['times_faster']:.0f} times faster; the same bytes: {figures['same_bytes']}")
    return "\n".join(lines)


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--text", type=Path, help="UTF-8 text to repeat, or to draw words from (default: made-up words)"
    )
    parser.add_argument("--vocabulary", type=Path, help="folder of BPE files (default: learnt from the text)")
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="text that does not repeat itself")
    parser.add_argument("--ours-only", action="store_true", help="leave the stock path out")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    if arguments.json:
        with exit_on_user_error():
            check_output(arguments.json)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text, vocabulary = folder / "text", arguments.vocabulary
        write_text(text, source=arguments.text, num_bytes=int(arguments.megabytes * 1e6), fresh=arguments.fresh)
        if vocabulary is None:
            from cross_thought.data.bpe import train_vocabulary

            vocabulary = folder / "vocabulary"
            train_vocabulary(text, vocabulary, vocab_size=8000, workers=arguments.workers)
        figures = compare(text, vocabulary.resolve(), folder, workers=arguments.workers, stock=not arguments.ours_only)
    print(report(figures))
    if arguments.json:
        plain = {name: asdict(value) if isinstance(value, Measurement) else value for name, value in figures.items()}
        arguments.json.write_text(json.dumps(plain, indent=2) + "\n")


if __name__ == "__main__":
    main()
