"""Measure on a GPU, with one command and within eight minutes, all that is worth knowing there.

    python -m benchmarks.gpu --out FOLDER [--data FOLDER] [--fairseq-tests FOLDER]

Needs torch; what needs more (fairseq, Sentence Transformers, the user's files) skips where it is missing, and says so.
Each part is a process of its own with a limit on its time: one that fails leaves the others alone. FOLDER gets
`battery.json`, `battery.md`, which can be pasted into README.md above this folder, and a log of each part.
`--device cpu --small` only tries it out.
"""

from benchmarks.gpu.battery import main

if __name__ == "__main__":
    main(__doc__)
