"""The table of downloads that ships, and one that is damaged."""

import re
from pathlib import Path

import pytest

from cross_thought.data.download import checkpoint_download, read_table
from cross_thought.errors import UserError

TABLE = Path(__file__).parents[3] / "resources" / "downloads.tsv"

# of which nobody has published sizes or checksums
UNKNOWN = [
    "wikiqa/WikiQACorpus.zip",
    "trec-qa/jacana-qa-naacl2013-data-results.tar.bz2",
    *(f"quasar-t/contexts/short/{split}_contexts.json.gz" for split in ("train", "dev", "test")),
    *(f"quasar-t/questions/{split}_questions.json.gz" for split in ("train", "dev", "test")),
    "hotpotqa/hotpot_train_v1.1.json",
    "hotpotqa/hotpot_dev_distractor_v1.json",
    "senteval/senteval.tar",
]


def test_the_table_is_complete() -> None:
    table = read_table(TABLE)
    assert len(table) == 48
    unpublished = {name for name, item in table.items() if item.sha256 is None}
    assert unpublished == {
        *("glue/AX.tsv", "gpt2_bpe/dict.txt", "wikipedia/20231101.en.txt"),
        *("checkpoints/cross_thought.pt", "checkpoints/roberta.base.tar.gz"),
        *("beir/hotpotqa.zip", *UNKNOWN),
    }
    assert {name for name, item in table.items() if item.md5 is not None} == {"beir/hotpotqa.zip"}
    for item in table.values():
        assert item.sha256 is None or re.fullmatch("[0-9a-f]{64}", item.sha256)
        assert item.md5 is None or re.fullmatch("[0-9a-f]{32}", item.md5)
        assert item.num_bytes or item.name in ("checkpoints/cross_thought.pt", "glue/AX.tsv", *UNKNOWN)
    assert table["glue/MNLI.zip"].size_text == "312.8 MB"
    assert table["wikipedia/20231101.en.txt"].size_text == "about 20.0 GB"
    assert table["checkpoints/cross_thought.pt"].size_text == "size not published"
    assert len(table["gpt2_bpe/encoder.json"].mirrors) == 1


def test_a_damaged_table_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("name\turl\tbytes\tsha256\tmirrors\na\tb\n")
    with pytest.raises(UserError, match="table, line 2: 2 fields instead of 5"):
        read_table(tmp_path / "table")


def test_checkpoints_are_found_in_the_table_or_named_after_their_place() -> None:
    table = read_table(TABLE)
    known = checkpoint_download(table, source="gdrive", location="11lnZijWuRcPT07xiEO5NMhkXMfKopIb9")
    assert known is table["checkpoints/cross_thought.pt"]
    one, two = (checkpoint_download(table, source="url", location=f"http://host/{name}") for name in ("a.pt", "b.pt"))
    assert one.name != two.name
    assert one.name.endswith(".pt")
    assert checkpoint_download(table, source="url", location="http://host/a.tar.gz").name.endswith(".tar.gz")
