"""The raw files of a whole run: what the workflow fetches, and the plan counts."""

from pathlib import Path

from cross_thought.config import load_files
from cross_thought.data.captions import SPLITS, caption_files
from cross_thought.data.download import checkpoint_download
from cross_thought.data.run_inputs import needs_corpus, prepared_tasks, run_inputs
from cross_thought.data.tasks import PAIRS_SECTION, task_entries
from cross_thought.environment import REPOSITORY

CAPTIONS = [f"results/downloads/{name}" for split in SPLITS for name in caption_files(split)]
GIVEN = {"source": "url", "location": "https://x.org/m.pt"}


def test_the_captions_run_is_made_of_their_fifteen_files() -> None:
    assert run_inputs(load_files([REPOSITORY / "config/captions.yaml"])) == sorted(CAPTIONS)


def test_the_demo_makes_all_of_its_own() -> None:
    paths = run_inputs(load_files([]))
    assert "results/downloads/demo/corpus.txt" in paths
    assert all(path.startswith("results/downloads/demo/") for path in paths)


def test_a_given_model_with_its_vocabulary_needs_no_corpus() -> None:
    config = load_files([], models={"given": GIVEN}, bpe={"source": "gpt2"}, tasks={"RTE": None}, control=None)
    assert not needs_corpus(config)
    assert [path.removeprefix("results/downloads/") for path in run_inputs(config)] == [
        checkpoint_download({}, **GIVEN).name, "glue/RTE.zip", "gpt2_bpe/dict.txt", "gpt2_bpe/encoder.json",
        "gpt2_bpe/vocab.bpe",
    ]  # fmt: skip


def test_ones_own_files_go_before_downloads(tmp_path: Path) -> None:
    for name in CAPTIONS[:5]:
        path = tmp_path / name.removeprefix("results/downloads/")
        path.parent.mkdir(exist_ok=True)
        path.touch()
    paths = run_inputs(load_files([REPOSITORY / "config/captions.yaml"], data_dir=str(tmp_path)))
    assert [path for path in paths if path.startswith(str(tmp_path))] == sorted(
        name.replace("results/downloads", str(tmp_path)) for name in CAPTIONS[:5]
    )


def test_a_task_of_several_sections_is_prepared_once_as_the_first_says() -> None:
    pairs = {"RTE": {}, "SNLI": {}}
    entries = {"tasks": {"RTE": {"max_train_examples": 7}}, "embedding_tasks": {"SNLI": {}, "STS13": {}}}
    config = load_files([], **entries, embedding_tuning={"pairs": pairs})
    assert list(task_entries(config)) == ["tasks", "embedding_tasks", PAIRS_SECTION]
    assert set(prepared_tasks(config)) == {"RTE", "SNLI", "STS13"}
    assert prepared_tasks(config)["STS13"].splits.keys() == {"test"}


def test_a_task_of_ones_own_may_stand_in_other_sections_without_its_files(tmp_path: Path) -> None:
    rows = tmp_path / "rows.tsv"
    rows.write_text("a\tb\tyes\n", encoding="utf-8")
    files = {"files": {"train": str(rows), "valid": str(rows)}, "input_columns": [1, 2], "label_column": 3}
    own = files | {"labels": ["no", "yes"], "metrics": ["accuracy"], "header": False}
    config = load_files(
        [],
        tasks={"mine": own},
        embedding_tasks={"mine": {"evaluation": "probe"}},
        embedding_tuning={"pairs": {"mine": {"positive_label": "yes"}}},
    )
    assert prepared_tasks(config)["mine"].splits.keys() == {"train", "valid"}
