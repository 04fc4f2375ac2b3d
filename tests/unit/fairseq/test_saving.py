"""What training does otherwise than fairseq's own."""

import pytest
import torch

from cross_thought.fairseq import bridge

bridge.install()

from fairseq.data import Dictionary, MaskTokensDataset  # noqa: E402

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
