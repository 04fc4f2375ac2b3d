"""Exports by name, from a hub on this machine: fetched, uploaded, kept for later; what is refused."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import TEXT, write_checkpoint, write_fine_tuned
from huggingface_hub import constants
from model_hub import ModelHub, model_hub

from cross_thought import SentenceClassifier, SentenceEncoder
from cross_thought.__main__ import main
from cross_thought.errors import UserError
from cross_thought.inference.export import export_model
from cross_thought.inference.hub import fetched

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    export_model(write_checkpoint(folder / "model"), folder / "export", output_format="sentence-transformers")
    return folder / "export"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """Run a hub, and have the library of this process ask it."""
    with model_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        resolve = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", resolve)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield server


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_name_is_fetched_without_its_code_and_kept(
    hub: ModelHub, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("user/model", {**files_of(export), "pytorch_model.bin": pickle.dumps(print)})
    expected = SentenceEncoder.from_pretrained(export, device="cpu").encode(TEXT)
    found = SentenceEncoder.from_pretrained("user/model", device="cpu").encode(TEXT)
    assert np.array_equal(found, expected)
    assert {Path(name).suffix for name in hub.fetched} == {".json", ".safetensors"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert np.array_equal(SentenceEncoder.from_pretrained("user/model", device="cpu").encode(TEXT), expected)


def test_a_revision_is_a_branch_or_a_commit(hub: ModelHub, export: Path) -> None:
    files = files_of(export)
    first = hub.put("user/model", files)
    hub.put("user/model", files | {"config.json": files["config.json"].replace(b'"mean"', b'"concat"')})
    hub.put("user/model", files | {"config.json": files["config.json"].replace(b'"mean"', b'"slot0"')}, branch="other")
    poolings = [
        SentenceEncoder.from_pretrained("user/model", revision=revision, device="cpu").settings.pooling
        for revision in (None, first, "other")
    ]
    assert poolings == ["concat", "mean", "slot0"]


def test_a_fine_tuned_model_predicts_by_its_name(hub: ModelHub, tmp_path: Path) -> None:
    export_model(write_fine_tuned(tmp_path / "m", num_sentences=1), tmp_path / "export", output_format="safetensors")
    files = files_of(tmp_path / "export")
    first = hub.put("user/model", files)
    renamed = files["config.json"].replace(b'"no"', b'"n"').replace(b'"yes"', b'"y"').replace(b'"maybe"', b'"m"')
    hub.put("user/model", files | {"config.json": renamed})
    expected = SentenceClassifier.from_pretrained(tmp_path / "export", device="cpu").predict(TEXT)
    Path("rows.tsv").write_text("".join(f"{text}\n" for text in ["a", *TEXT]), encoding="utf-8")
    for revision, labels in ([], [label[0] for label in expected]), (["--revision", first], expected):
        main(["predict", "--model", "user/model", *revision, "--input", "rows.tsv", "--output", "out.tsv"])
        lines = Path("out.tsv").read_text().splitlines()[1:]
        assert lines == [f"{index}\t{label}" for index, label in enumerate(labels)]


def test_a_path_goes_before_a_name(hub: ModelHub, export: Path, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user/model").symlink_to(export)
    assert fetched(Path("user/model")) == Path("user/model")
    with pytest.raises(
        UserError, match="revision 'main' is for a name on Hugging Face's hub, and user/model is a path"
    ):
        fetched(Path("user/model"), "main")
    assert hub.fetched == []


def test_what_is_not_there_is_told_of(hub: ModelHub, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("user/model", files_of(export))
    with pytest.raises(UserError, match=r"user/other is no file or folder here, and http://\S+ has no model of that"):
        fetched(Path("user/other"))
    with pytest.raises(UserError, match="user/model has no revision 'v2': correct it"):
        fetched(Path("user/model"), "v2")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="cannot be reached or HF_HUB_OFFLINE is set, nor was it fetched before"):
        fetched(Path("user/model"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", pickle.dumps(print), "model.safetensors"),
        ("config.json", b'{"model_type": "roberta"}', "holds a model of Hugging Face's type 'roberta'"),
        ("config.json", b"__import__('os')", "config.json"),
        ("modules.json", b'[{"type": "os.system", "path": ""}]', "begins with 'os.system', which is no Cross-Thought"),
    ],
)
def test_a_hostile_model_is_refused(hub: ModelHub, export: Path, file: str, content: bytes, message: str) -> None:
    hub.put("user/model", files_of(export) | {file: content})
    with pytest.raises(UserError) as caught:
        SentenceEncoder.from_pretrained("user/model", device="cpu")
    assert message in str(caught.value)


def test_an_upload_comes_back_by_the_command(hub: ModelHub, export: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_none",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    environment.pop("HF_HUB_OFFLINE", None)

    def run(*command: str) -> None:
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run(str(Path(sys.executable).parent / "hf"), "upload", "user/model", str(export))
    assert hub.commits[hub.models["user/model"]["main"]] == files_of(export)
    (tmp_path / "sentences.txt").write_text("\n".join(TEXT[:2]) + "\n", encoding="utf-8")
    embed = ["embed", "--model", "user/model", "--revision", "main", "--input", "sentences.txt"]
    run(sys.executable, "-m", "cross_thought", *embed, "--output", "found.npy", "--device", "cpu")
    expected = SentenceEncoder.from_pretrained(export, device="cpu").encode(TEXT[:2])
    assert np.allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)
