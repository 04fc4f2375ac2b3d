"""Measuring the cross path: what is masked, and what each condition sees."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.evaluation.cross_path import fact_ids, mask_facts, measure

torch = pytest.importorskip("torch")
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig  # noqa: E402

# two facts: one of three values, one of two, each value with two words
VALUES = [[(10, 11), (12, 13), (14, 15)], [(20, 21), (22, 23)]]
MASK = 30
DOCUMENTS = torch.tensor(
    [
        [[0, 10, 20, 5], [5, 11, 21, 2]],
        [[0, 12, 23, 5], [5, 22, 13, 2]],
        [[0, 15, 20, 5], [5, 14, 20, 2]],
        [[0, 13, 21, 5], [5, 21, 12, 2]],
    ]
)


class SpyEncoder:
    """Takes the encoder's place: for each scored place, the tokens of the other segments if cross layer 0 is on."""

    def __init__(self) -> None:
        self.config = EncoderConfig(vocab_size=31, segment_length=4, num_slots=1, num_positions=8)
        self.inputs: list[tuple[bool, torch.Tensor, torch.Tensor]] = []

    def eval(self) -> None:
        pass

    def encode_streams(self, tokens: torch.Tensor, *, start_position: int, scored: torch.Tensor) -> torch.Tensor:
        assert start_position == 1
        self.inputs.append((self.config.cross_sequence, tokens, scored))
        assert (tokens[scored] == MASK).all()
        assert (tokens == MASK).sum() == len(tokens)
        return torch.stack(
            [row.view(-1, 4)[~place.view(-1, 4).any(1)].flatten() for row, place in zip(tokens, scored, strict=False)]
        )


def copy_head(spy: SpyEncoder, masking: object) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a head that answers with the other segments' word for the masked fact; without cross layer 0, with 10."""

    def head(states: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(states), 31)
        for row, words in enumerate(states.tolist()):
            values = next(values for values in VALUES if masking.answers[row] in values)
            known = [word for word in words if any(word in of_value for of_value in values)]
            scores[row, known[0] if spy.config.cross_sequence else 10] = 1
        return scores

    return head


def test_one_word_for_each_document_and_fact() -> None:
    masking = mask_facts(DOCUMENTS, VALUES, seed=1)
    assert masking.documents.shape == (8, 2, 4)
    assert masking.guess_rate == pytest.approx((1 / 3 + 1 / 2) / 2)
    words = masking.documents[range(8), masking.segments, masking.columns].tolist()
    assert all(word in answers for word, answers in zip(words, masking.answers, strict=True))
    again = mask_facts(DOCUMENTS, VALUES, seed=1)
    assert torch.equal(again.segments, masking.segments)
    assert not all(torch.equal(mask_facts(DOCUMENTS, VALUES, seed=s).segments, masking.segments) for s in range(2, 6))


def test_a_segment_that_states_a_fact_twice_is_not_masked() -> None:
    documents = torch.tensor([[[0, 10, 11, 5], [5, 11, 20, 2]]])
    masking = mask_facts(documents, VALUES[:1], seed=1)
    assert (masking.segments.tolist(), masking.columns.tolist()) == ([1], [1])


def test_documents_without_facts_are_refused() -> None:
    with pytest.raises(UserError, match="no held-out document states a fact"):
        mask_facts(torch.full((2, 2, 4), 5), VALUES, seed=1)


def test_conditions() -> None:
    spy, masking = SpyEncoder(), mask_facts(DOCUMENTS, VALUES, seed=1)
    accuracy = measure(spy, copy_head(spy, masking), masking, mask_id=MASK, has_cross_sequence=True)
    assert list(accuracy) == ["on", "bypassed", "shuffled"]
    assert accuracy["on"] == 1.0  # either word of the value counts
    assert accuracy["bypassed"] == 1 / 8  # answers 10: right for the first document's first fact alone
    own = list(masking.answers)
    assert accuracy["shuffled"] == sum(a == b for a, b in zip(own, own[4:] + own[:4], strict=True)) / 8 < 1
    assert spy.config.cross_sequence

    (_, tokens, scored), (_, bypassed, _), (_, shuffled, _) = spy.inputs
    assert torch.equal(tokens, bypassed)
    has_mask = scored.view(8, 2, 4).any(2)
    assert torch.equal(shuffled.view(8, 2, 4)[has_mask], tokens.view(8, 2, 4)[has_mask])
    others = masking.documents.roll(4, 0)
    assert torch.equal(shuffled.view(8, 2, 4)[~has_mask], others[~has_mask])


def test_the_control_has_one_condition() -> None:
    spy, masking = SpyEncoder(), mask_facts(DOCUMENTS, VALUES, seed=1)
    accuracy = measure(spy, copy_head(spy, masking), masking, mask_id=MASK, has_cross_sequence=False)
    assert list(accuracy) == ["bypassed"]
    assert [cross_sequence for cross_sequence, _, _ in spy.inputs] == [False]


def test_the_real_encoder() -> None:
    torch.manual_seed(1)
    config = EncoderConfig(
        vocab_size=31, num_layers=1, embed_dim=8, ffn_dim=8, num_heads=2, num_slots=1, segment_length=4, num_positions=8
    )
    encoder, head = CrossThoughtEncoder(config), torch.nn.Linear(8, 31)
    masking = mask_facts(DOCUMENTS, VALUES, seed=1)
    accuracy = measure(encoder, head, masking, mask_id=MASK, has_cross_sequence=True)
    assert all(0 <= share <= 1 for share in accuracy.values())
    assert encoder.config is config


def test_fact_ids(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text(json.dumps({"a": 0, "Ġcook": 7, "Ġchef": 3, "Ġtutor": 5, "Ġteacher": 9}))
    (tmp_path / "dict.txt").write_text("3 50\n9 20\n7 10\nmadeupword0000 0\n")
    assert fact_ids({"job": (("cook", "chef"),)}, tmp_path) == [[(6, 4)]]
    for word in ("tutor", "driver"):  # not in the dictionary, not even a symbol
        with pytest.raises(UserError, match=f"{word}.*raise bpe.vocab_size"):
            fact_ids({"job": (("teacher", word),)}, tmp_path)
