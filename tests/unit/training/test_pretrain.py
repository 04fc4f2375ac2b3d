"""What defines a pre-training: its flags, and the content of what it starts from; and where patience ends it."""

import json
from pathlib import Path

import pytest

from cross_thought.config import load_config
from cross_thought.data.starts import as_trained
from cross_thought.evaluation.history import of_split, read_history
from cross_thought.tables.pretraining import left_out_notes
from cross_thought.training.checkpoints import load_checkpoint
from tests.bad_input.training_cases import CHECKPOINT, DATA, HARDWARE, changed_model, write_documents
from workflow_scripts.pretrain import left_out, pretrain, training_flags

CONFIG = load_config({})


def flags(**changes: object) -> list[str]:
    model = CONFIG["models"]["cross_thought"] | changes
    return training_flags(model, seed=1, hardware=CONFIG["hardware"])


def test_the_place_of_a_start_is_none_of_its_flags() -> None:
    assert flags(initialize_from="old/model.pt") == flags(initialize_from="/moved/model.pt") == flags()


def test_no_patience_is_none_of_the_settings() -> None:
    model = CONFIG["models"]["cross_thought"]
    assert "--patience" not in flags()
    assert "patience" not in as_trained(model)["pretraining"]
    patient = model | {"pretraining": model["pretraining"] | {"patience": 2}}
    assert as_trained(patient)["pretraining"]["patience"] == 2


def test_patience_ends_a_training_at_the_same_update_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Validated after every second update; the rate is so low that nothing is learnt, so the first one is the best."""
    monkeypatch.chdir(tmp_path)
    write_documents()
    model = changed_model(max_updates=40, learning_rate=1e-30, patience=2)
    history, command = CHECKPOINT.with_name("history.tsv"), CHECKPOINT.with_name("command.json")

    def train() -> str:
        places = {"checkpoint": CHECKPOINT, "history": history, "command_record": command}
        pretrain(DATA, model=model, seed=1, hardware=HARDWARE, **places)
        validated = of_split(read_history(history), "valid")["num_updates"]
        assert list(validated) == [2, 4, 6]
        assert load_checkpoint(CHECKPOINT)["optimizer_history"][-1]["num_updates"] == 6
        return capsys.readouterr().out

    assert "stopped early, by patience" in train()
    argv = json.loads(command.read_text())["argv"]
    assert argv[argv.index("--total-num-update") + 1] == "40"
    (run,) = (CHECKPOINT.parent / "runs").iterdir()
    for name in ("checkpoint_last.pt", "checkpoint_2_6.pt"):  # killed after it had counted the first
        (run / name).unlink()
    said = train()
    assert "going on from" in said
    assert "checkpoint_1_2.pt, 2 of 40 updates" in said


def test_sentences_longer_than_a_stream_are_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_documents(first_sentence=60)
    history, command = CHECKPOINT.with_name("history.tsv"), CHECKPOINT.with_name("command.json")
    places = {"checkpoint": CHECKPOINT, "history": history, "command_record": command}
    pretrain(DATA, model=changed_model(max_updates=2, tokens_per_sample=60), seed=1, hardware=HARDWARE, **places)
    of_valid = {"sentences": 1, "of_sentences": 32, "tokens": 60, "of_tokens": 60 + 31 * 12}
    assert json.loads(command.read_text())["left_out"]["valid"] == of_valid
    said = (
        "train: 1 of 128 sentences, 60 of 1584 tokens, are longer than a stream, tokens_per_sample 60, and left out\n"
    )
    assert said in capsys.readouterr().out
    note = "1 of 32 sentences, 14 % of the tokens, are longer than a stream (`tokens_per_sample`), and were left out."
    assert f"{history.parts[-3]} (valid): {note}" in left_out_notes([history])
    assert left_out(DATA, changed_model(tokens_per_sample=61)["pretraining"]) == {}
    assert left_out(DATA, changed_model(tokens_per_sample=20, sample_break_mode="none")["pretraining"]) == {}
