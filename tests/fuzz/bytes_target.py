"""A target for atheris: bytes as a YAML config, a table, an archive, a corpus, a dictionary, a BPE file.

    python -m tests.fuzz.bytes_target -max_total_time=60

Coverage guides what it tries next. Anything but a result or a `UserError` of one line is a finding.
"""

import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cross_thought", "yaml", "zipfile"]):
    from cross_thought.data.binarize import read_dictionary
    from cross_thought.data.bpe import bpe_symbols
    from cross_thought.data.corpus import TextFile, read_documents
    from cross_thought.data.glue import read_split
    from cross_thought.data.raw_files import RawFile
    from cross_thought.data.tasks import task_from_config
    from cross_thought.errors import UserError
    from cross_thought.yaml_text import read_yaml

RTE = task_from_config("RTE", {"check_rows": False})
OWN = task_from_config(
    "mine", {"files": {"train": "t", "valid": "t"}, "input_columns": ["a"], "label_column": 2, "labels": ["0", "1"]}
)
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
READERS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("a.yaml", read_yaml),
    ("a.tsv", lambda path: read_split(OWN, "train", RawFile(path=str(path)))),
    ("a.zip", lambda path: read_split(RTE, "train", RawFile(path=str(path), member="RTE/train.tsv"))),
    ("a.txt", lambda path: list(read_documents(TextFile(path=str(path), format="wikitext")))),
    ("a.jsonl", lambda path: list(read_documents(TextFile(path=str(path), lines="wrapped")))),
    ("dict.txt", read_dictionary),
    ("encoder.json", lambda path: bpe_symbols(path.parent)),
)


def read_bytes(data: bytes) -> None:
    """Give bytes to the reader that their first byte names."""
    if not data:
        return
    name, read = READERS[data[0] % len(READERS)]
    path = FOLDER / name
    path.write_bytes(data[1:])
    try:
        read(path)
    except UserError as error:
        if "\n" in str(error):
            raise ValueError(f"more than one line: {error}") from error


def seeds() -> list[bytes]:
    """Return a sound file for each reader, to start from."""
    import zipfile

    with zipfile.ZipFile(FOLDER / "seed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("RTE/train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    files = (
        b"corpus: {files: &a [x, 1]}\nseeds: *a\n",
        b"a\tb\nx\t1\n",
        (FOLDER / "seed.zip").read_bytes(),
        b" = Title = \n\n text\n\n",
        b'{"text": "a\\n\\nb"}\n',
        b"12 7\n13 5\n",
        '{"a": 0, "Ċ": 1}'.encode(),
    )
    return [bytes([number]) + content for number, content in enumerate(files)]


if __name__ == "__main__":
    logging.disable()
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, f"-artifact_prefix={FOLDER}/", str(corpus)], read_bytes)
    atheris.Fuzz()
