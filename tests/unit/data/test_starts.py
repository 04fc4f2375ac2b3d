"""What `initialize_from` stands for: files at hand, or downloads."""

import os
from pathlib import Path

import pytest

from cross_thought.data.download import DOWNLOADS_TABLE, read_table
from cross_thought.data.starts import as_trained, check_start, model_downloads, start_files, start_name
from cross_thought.errors import UserError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where there are checkpoints."""
    monkeypatch.chdir(tmp_path)
    for name in ("old/model.pt", "old/dict.txt", "alone/model.pt", "a/b/config.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def model(place: str | None, source: str = "pretrain") -> dict:
    return {"initialize_from": place, "cross_layers": "copy", "source": source, "location": None}


@pytest.mark.parametrize(
    ("place", "files"),
    [
        ("roberta.base", ["D/checkpoints/roberta.base.tar.gz"]),
        ("https://x.org/m.tar.gz", ["D/checkpoints/url-a1514acbe3f2.tar.gz"]),
        ("alone/model.pt", ["alone/model.pt"]),
        ("old/model.pt", ["old/model.pt", "old/dict.txt"]),
        ("a/b", [f"a/b/{name}" for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt")]),
        ("org/name", [f"D/checkpoints/hub/org/name/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json")]),
    ],
)  # fmt: skip
def test_files(place: str, files: list[str]) -> None:
    assert start_files(place, data_dir=None, downloads_dir="D") == files


def test_ones_own_copy_goes_before_a_download() -> None:
    Path("mine/checkpoints").mkdir(parents=True)
    Path("mine/checkpoints/roberta.base.tar.gz").touch()
    assert start_files("roberta.base", data_dir="mine") == ["mine/checkpoints/roberta.base.tar.gz"]


def test_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_table(DOWNLOADS_TABLE)
    given = {"source": "url", "location": "https://x.org/given.pt"}
    models = {"a": model("roberta.base"), "b": model("old/model.pt"), "c": model("org/name@v1.0"), "d": given}
    found = model_downloads(models, table)
    assert found[0] is table["checkpoints/roberta.base.tar.gz"]
    assert [item.url for item in found[1:]] == [
        *(f"https://huggingface.co/org/name/resolve/v1.0/{name}" for name in ("config.json", "model.safetensors")),
        "https://huggingface.co/org/name/resolve/v1.0/tokenizer.json",
        "https://x.org/given.pt",
    ]
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    assert model_downloads({"c": models["c"]}, table)[0].url == "http://mirror/org/name/resolve/v1.0/config.json"


def test_the_place_of_a_start_is_none_of_the_settings() -> None:
    assert as_trained(model(None)) == {"source": "pretrain", "location": None}
    settings = {"cross_layers": "copy", "source": "pretrain", "location": None}
    assert as_trained(model("old/model.pt")) == as_trained(model("alone/model.pt")) == settings


def test_names() -> None:
    for download in ("roberta.base", "https://x.org/m.pt", "org/name@v1.0"):
        assert start_name(download) == download
    assert start_name("old/model.pt") == start_name(os.path.abspath("alone/model.pt")) == "model.pt"
    assert start_name("a/b/") == "b"


def test_what_leads_somewhere_goes_through() -> None:
    for place in ("roberta.base", "https://x.org/m.pt", "old/model.pt", "org/name", "old/name@main"):
        check_start("mine", model(place))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (
            "gone.pt",
            "is 'gone.pt', which is no file, no folder, no URL, no name on .* and not roberta.base; correct it",
        ),
        ("folder/gone.pt", "is 'folder/gone.pt', which is no file"),
        ("roberta.bsae", "is 'roberta.bsae', which is no file"),
        ("old/model", r"is 'old/model', which is no file, .* no name on Hugging Face's hub \(OWNER/NAME\)"),
        ("a/b", "is 'a/b', which has no model.safetensors; give the folder of a RoBERTa"),
    ],
)
def test_what_leads_nowhere_is_refused(place: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^config: models.mine.initialize_from {sentence}"):
        check_start("mine", model(place))
