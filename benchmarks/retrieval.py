"""Time and memory of retrieval over a generated collection, each step in a process of its own.

    python -m benchmarks.retrieval --passages 1000000 --queries 1000 --threads 2

From raw files to TREC's run by the code of the workflow's jobs, but for the embedding itself: vectors are random, and a
query's is that of a passage with noise, which is the one that is right. README.md beside this file has the figures.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cross_thought.data.definitions import EXACT, IVF, RetrievalTask
from cross_thought.data.retrieval import PASSAGES, QUERIES, prepare_collection
from cross_thought.evaluation.retrieval import (
    Collection,
    read_run,
    retrieval_metrics,
    search_embeddings,
    search_words,
    write_run,
)

DIMENSIONS, NOISE = 128, 1.5  # of a unit vector's length, spread over the dimensions
WORDS_EACH, VOCABULARY = 30, 100_000
BLOCK = 1 << 16
STEPS = ("start", "prepare", EXACT, IVF, "bm25")  # to start is to import the code and do nothing
METRICS = ("mrr", "recall@10", "recall@100")


def task_of(folder: Path, *, index: str, num_probes: int) -> RetrievalTask:
    """Return the generated collection as the config would describe it."""
    files = {kind: (str(folder / f"{kind}.tsv"),) for kind in (QUERIES, PASSAGES)}
    judgements = {"test": (str(folder / "qrels.tsv"),)}
    return RetrievalTask(
        name="generated", judgements=judgements, index=index, num_probes=num_probes, precision="float16", **files
    )


def generate(folder: Path, *, num_passages: int, num_queries: int) -> None:
    """Write raw files and embeddings: Zipf's words, random vectors; a query has some words of its passage."""
    generator = np.random.default_rng(1)
    right = np.sort(generator.choice(num_passages, num_queries, replace=False))
    embeddings = np.lib.format.open_memmap(
        folder / f"{PASSAGES}.npy", mode="w+", dtype=np.float16, shape=(num_passages, DIMENSIONS)
    )
    asked: list[str] = []
    with open(folder / f"{PASSAGES}.tsv", "w", encoding="utf-8") as file:
        print("id\ttext", file=file)
        for start in range(0, num_passages, BLOCK):
            size = min(BLOCK, num_passages - start)
            vectors = generator.normal(size=(size, DIMENSIONS)).astype(np.float32)
            embeddings[start : start + size] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            words = np.minimum(generator.zipf(1.2, (size, WORDS_EACH)), VOCABULARY)
            for place, row in enumerate(words.tolist(), start=start):
                print(f"p{place}\t{' '.join(f'w{word}' for word in row)}", file=file)
            inside = right[(right >= start) & (right < start + size)] - start
            asked += [" ".join(f"w{word}" for word in sorted(row, reverse=True)[:8]) for row in words[inside].tolist()]
    queries = embeddings[right].astype(np.float32)
    queries += NOISE * generator.normal(size=queries.shape).astype(np.float32) / DIMENSIONS**0.5
    np.save(folder / f"{QUERIES}.npy", queries / np.linalg.norm(queries, axis=1, keepdims=True))
    lines = [f"q{number}\t{text}" for number, text in enumerate(asked)]
    (folder / f"{QUERIES}.tsv").write_text("\n".join(["id\ttext", *lines]) + "\n", encoding="utf-8")
    qrels = "".join(f"q{number}\tp{place}\t1\n" for number, place in enumerate(right))
    (folder / "qrels.tsv").write_text(qrels, encoding="utf-8")


def do_step(folder: Path, step: str, num_probes: int) -> None:
    """Do one step in this process; print its seconds, the processor's, and the peak of memory in MB."""
    began = time.monotonic()
    task = task_of(folder, index=IVF if step == IVF else EXACT, num_probes=num_probes)
    if step == "prepare":
        prepare_collection(task, folder / "prepared")
    elif step != "start":
        collection = Collection(folder / "prepared", task)
        queries, passages = (np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in (QUERIES, PASSAGES))
        is_words = step == "bm25"
        found = search_words(task, collection) if is_words else search_embeddings(task, collection, queries, passages)
        write_run(folder / f"{step}.trec", task, collection, found, tag=step)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1000
    print(f"{time.monotonic() - began:.1f} {time.process_time():.1f} {peak:.0f}")


def main() -> None:
    """Generate a collection, do each step, and print what it took and what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--probes", type=int, default=64, help="clusters searched by the approximate index")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--do", nargs=2, metavar=("FOLDER", "STEP"), help="do one step (used by this script itself)")
    options = parser.parse_args()
    if options.do:
        do_step(Path(options.do[0]), options.do[1], options.probes)
        return
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, num_passages=options.passages, num_queries=options.queries)
        for step in options.steps:
            command = [
                sys.executable,
                "-m",
                "benchmarks.retrieval",
                "--probes",
                str(options.probes),
                "--do",
                name,
                step,
            ]
            done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
            measured = done.stdout.split()
            found: dict[str, float | None] = {}
            if (folder / f"{step}.trec").exists():
                judgements = Collection(folder / "prepared", task_of(folder, index=EXACT, num_probes=1)).judgements
                found = retrieval_metrics(METRICS, judgements, read_run(folder / f"{step}.trec"))
            rows.append([step, *measured, *(f"{100 * found[name]:.1f}" if found.get(name) else "" for name in METRICS)])
            print(*rows[-1], flush=True)
    from benchmarks.results import markdown  # brings torch, which no step is to be charged with

    print(markdown(["step", "s", "processor s", "peak MB", *METRICS], rows))


if __name__ == "__main__":
    main()
