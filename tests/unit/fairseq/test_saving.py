"""What training does otherwise than fairseq's own."""

import errno
import os
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cross_thought.fairseq import bridge

bridge.install()

from fairseq.data import Dictionary, MaskTokensDataset  # noqa: E402
from fairseq_cli import train as fairseq_train  # noqa: E402

from cross_thought.fairseq import saving  # noqa: E402


def masked_rows(epochs: list[int]) -> list[torch.Tensor]:
    """Return two streams as they are masked in the last of some epochs that follow each other."""
    dictionary = Dictionary()
    words = torch.arange(100) % 50 + 4
    for word in range(50):
        dictionary.add_symbol(str(word))
    mask = dictionary.add_symbol("<mask>")
    source, target = MaskTokensDataset.apply_mask(
        torch.stack([words, words]), dictionary, pad_idx=dictionary.pad(), mask_idx=mask, seed=1
    )
    for epoch in epochs:
        for dataset in (source, target):
            dataset.set_epoch(epoch)
        rows = [dataset[index] for index in range(2) for dataset in (source, target)]
    return rows


def test_each_epoch_has_masks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    afresh = torch.stack(masked_rows([2]))
    assert not torch.equal(torch.stack(masked_rows([1, 2])), afresh)  # fairseq's own remembers
    monkeypatch.setattr(MaskTokensDataset, "set_epoch", saving._forgetting(MaskTokensDataset.set_epoch))
    assert torch.equal(torch.stack(masked_rows([1, 2])), afresh)


def test_a_second_name_of_a_checkpoint_shares_its_bytes(tmp_path: Path) -> None:
    source, name = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"weights")
    name.write_bytes(b"older weights")
    saving.AtomicPathManager.copy(str(source), str(name), overwrite=True)
    assert name.samefile(source)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS])
def test_a_checkpoint_is_copied_where_hard_links_are_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, destination: object) -> None:
        raise OSError(number, os.strerror(number), source, None, destination)

    monkeypatch.setattr(os, "link", refuse)
    source, name = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"weights")
    name.write_bytes(b"older weights")
    saving.AtomicPathManager.copy(str(source), str(name), overwrite=True)
    assert name.read_bytes() == b"weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, name.name]


def test_patience_is_kept_over_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fairseq_train.should_stop_early, "best", 71.5, raising=False)
    monkeypatch.setattr(fairseq_train.should_stop_early, "num_runs", 2, raising=False)
    saved: dict = {}
    saving._with_patience(lambda trainer, filename, extra_state: saved.update(extra_state))(None, "last.pt", {"a": 1})
    assert saved == {"a": 1, "early_stop": {"best": 71.5, "num_runs": 2}}


@pytest.mark.parametrize(("num_updates", "patience"), [(40, {"best": 71.5, "num_runs": 2}), (0, {})])
def test_the_patience_of_another_training_is_none_of_this_ones(
    num_updates: int, patience: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--finetune-from-model` starts at update 0, with none of the `--reset-...` flags set."""
    monkeypatch.setattr(fairseq_train.should_stop_early, "__dict__", {})
    args = Namespace(save_dir=str(tmp_path), reset_meters=False, reset_optimizer=False)
    trainer = SimpleNamespace(get_num_updates=lambda: num_updates)
    extra_state = {"early_stop": {"best": 71.5, "num_runs": 2}}
    found, _ = saving._as_left(lambda args, trainer: (extra_state, None))(args, trainer)
    assert found is extra_state
    assert vars(fairseq_train.should_stop_early) == patience


@pytest.mark.parametrize(("patience", "ended"), [(-1, False), (2, True), (3, False)])
def test_what_had_lost_its_patience_is_not_trained_on(
    patience: int, ended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fairseq_train.should_stop_early, "__dict__", {})
    args = Namespace(save_dir=str(tmp_path), reset_meters=False, patience=patience)
    trainer = SimpleNamespace(get_num_updates=lambda: 40)
    extra_state = {"early_stop": {"best": 71.5, "num_runs": 2}}
    load = saving._as_left(lambda args, trainer: (extra_state, None))
    if ended:
        with pytest.raises(SystemExit) as stop:
            load(args, trainer)
        assert not stop.value.code
    else:
        assert load(args, trainer)[0] is extra_state
