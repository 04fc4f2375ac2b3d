"""Masked words of any text: what is masked, what each condition sees, what is written."""

from dataclasses import replace
from pathlib import Path

import pytest

from cross_thought.evaluation.masked_words import (
    BYPASSED,
    ON,
    SHUFFLED,
    Guess,
    MaskedWord,
    _with_other_segments,
    choose_words,
    guess_words,
    write_words,
)

torch = pytest.importorskip("torch")
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig  # noqa: E402

CONFIG = EncoderConfig(
    vocab_size=60, num_layers=1, embed_dim=16, ffn_dim=32, num_heads=2, num_slots=2, segment_length=8, num_positions=16,
    dropout=0.0, attention_dropout=0.0, init_std=0.3,
)  # fmt: skip
MASK = 59
# segments of 8 symbols; 1 is the pad, 2 the end of a sentence
DOCUMENTS = [
    torch.tensor([[10, 11, 12, 13, 14, 15, 16, 17], [10, 11, 20, 21, 22, 23, 24, 2], [30, 2, 1, 1, 1, 1, 1, 1]]),
    torch.tensor([[40, 41, 42, 43, 44, 45, 46, 2]]),  # one segment: nothing to be told by
    torch.tensor([[50, 51, 52, 53, 54, 55, 56, 2], [50, 2, 1, 1, 1, 1, 1, 1]]),
    torch.tensor([[30, 31, 2, 1, 1, 1, 1, 1], [30, 2, 1, 1, 1, 1, 1, 1]]),  # too few words
]


def test_a_share_of_the_words_of_one_segment_of_a_document_is_chosen() -> None:
    words = choose_words(DOCUMENTS, share=0.4, num_specials=4, seed=1)
    assert [word.document for word in words] == [0, 0, 0, 2, 2, 2]
    for word in words:
        document = DOCUMENTS[word.document]
        assert document[word.segment, word.column] == word.symbol >= 4
        others = {symbol for s, row in enumerate(document.tolist()) if s != word.segment for symbol in row}
        assert word.is_elsewhere == (word.symbol in others)
    assert len({(word.document, word.segment) for word in words}) == 2
    one = choose_words(DOCUMENTS, share=0.01, num_specials=4, seed=1)
    assert [word.document for word in one] == [0, 2]
    assert len(choose_words(DOCUMENTS, share=0.99, num_specials=4, seed=1)) in (6 + 6, 7 + 6)  # one word stays
    assert words == choose_words(DOCUMENTS, share=0.4, num_specials=4, seed=1)
    assert any(words != choose_words(DOCUMENTS, share=0.4, num_specials=4, seed=seed) for seed in range(2, 6))


def test_of_sentences_a_whole_one_is_chosen() -> None:
    documents = [
        # the first three segments are one sentence that was too long
        torch.tensor(
            [
                [0, 10, 11, 12, 13, 14, 15, 16],
                [20, 21, 22, 23, 24, 25, 26, 27],
                [30, 31, 32, 33, 34, 2, 1, 1],
                [40, 41, 42, 43, 44, 2, 1, 1],
            ]
        ),
        torch.tensor([[0, 10, 11, 12, 13, 2, 1, 1], [50, 51, 52, 53, 54, 55, 56, 57], [50, 51, 52, 53, 2, 1, 1, 1]]),
        torch.tensor([[0, 10, 11, 12, 13, 14, 15, 16], [20, 21, 22, 23, 2, 1, 1, 1]]),  # no whole one
    ]
    for seed in range(10):
        words = choose_words(documents, share=0.2, num_specials=4, seed=seed, eos_id=2)
        assert {(word.document, word.segment) for word in words} == {(0, 3), (1, 0)}
    cut = {word.segment for seed in range(10) for word in choose_words(documents, share=0.2, num_specials=4, seed=seed)}
    assert cut == {0, 1, 2, 3}


def test_text_without_two_such_documents_has_no_words(tmp_path: Path) -> None:
    assert choose_words(DOCUMENTS[:2], share=0.4, num_specials=4, seed=1) == []
    encoder = CrossThoughtEncoder(CONFIG)
    guesses = guess_words(encoder, torch.nn.Linear(16, 60), DOCUMENTS, [], mask_id=MASK, conditions=[ON, BYPASSED])
    assert guesses == {ON: [], BYPASSED: []}
    write_words(tmp_path / "words.tsv", "valid", [], guesses)
    assert len((tmp_path / "words.tsv").read_text(encoding="utf-8").splitlines()) == 1


def plain_losses(
    encoder: CrossThoughtEncoder, head: torch.nn.Linear, shown: torch.Tensor, found: list[MaskedWord]
) -> list[float]:
    """Compute the losses of one document's words alone, from the states of all its positions."""
    masked = shown.clone()
    for word in found:
        masked[word.segment, word.column] = MASK
    states = encoder.encode_streams(masked.view(1, -1), start_position=1)[0].view(*shown.shape, -1)
    return [-torch.log_softmax(head(states[word.segment, word.column]), 0)[word.symbol].item() for word in found]


def test_each_condition_sees_what_it_should() -> None:
    torch.manual_seed(0)
    encoder, head = CrossThoughtEncoder(CONFIG).eval(), torch.nn.Linear(16, 60)
    words = choose_words(DOCUMENTS, share=0.4, num_specials=4, seed=1)
    guesses = guess_words(encoder, head, DOCUMENTS, words, mask_id=MASK, conditions=[ON, SHUFFLED, BYPASSED])
    assert list(guesses) == [ON, SHUFFLED, BYPASSED]
    first, second = words[:3], words[3:]
    with torch.no_grad():
        mixed = [
            torch.stack([*rest[:own], DOCUMENTS[number][own], *rest[own:]])
            for number, own, rest in (
                (0, first[0].segment, DOCUMENTS[2]),
                (2, second[0].segment, DOCUMENTS[0][:1]),
            )
        ]
        expected = {
            ON: plain_losses(encoder, head, DOCUMENTS[0], first) + plain_losses(encoder, head, DOCUMENTS[2], second),
            SHUFFLED: plain_losses(encoder, head, mixed[0], first) + plain_losses(encoder, head, mixed[1], second),
        }
        encoder.config = replace(CONFIG, cross_sequence=False)
        expected[BYPASSED] = plain_losses(encoder, head, DOCUMENTS[0], first) + plain_losses(
            encoder, head, DOCUMENTS[2], second
        )
    for condition, losses in expected.items():
        assert [guess.loss for guess in guesses[condition]] == pytest.approx(losses, rel=1e-5)
    assert expected[ON] != pytest.approx(expected[SHUFFLED], rel=1e-3)
    assert expected[ON] != pytest.approx(expected[BYPASSED], rel=1e-3)


def test_a_shorter_other_document_is_gone_on_from_with_the_next() -> None:
    long, short, next_one = (
        torch.arange(start, start + rows * 8).view(rows, 8) for start, rows in ((0, 5), (100, 2), (200, 3))
    )
    for own, expected in enumerate(
        [[-1, 0, 1, 2, 3], [0, -1, 1, 2, 3], [0, 1, -1, 2, 3], [0, 1, 2, -1, 3], [0, 1, 2, 3, -1]]
    ):
        pool = torch.cat([short, next_one[:2], long[own : own + 1]])
        assert torch.equal(_with_other_segments(long, [short, next_one], own), pool[expected])
    # no more than two documents
    assert torch.equal(_with_other_segments(long, [short], 0), torch.cat([long[:1], short, short]))


def test_a_word_is_told_if_its_symbol_is_the_likeliest() -> None:
    encoder = CrossThoughtEncoder(CONFIG)
    words = choose_words(DOCUMENTS, share=0.4, num_specials=4, seed=1)

    def head(states: torch.Tensor) -> torch.Tensor:  # always of the same opinion
        return torch.zeros(len(states), 60).index_fill(1, torch.tensor(words[0].symbol), 5.0)

    guesses = guess_words(encoder, head, DOCUMENTS, words, mask_id=MASK, conditions=[ON])[ON]
    assert [guess.is_right for guess in guesses] == [word.symbol == words[0].symbol for word in words]


def test_what_is_written(tmp_path: Path) -> None:
    words = [MaskedWord(0, 1, 2, 33, True), MaskedWord(4, 0, 7, 9, False)]
    guesses = {ON: [Guess(True, 0.25), Guess(False, 3.0)], BYPASSED: [Guess(False, 1 / 3), Guess(False, 2.0)]}
    write_words(tmp_path / "words.tsv", "test", words, guesses)
    assert (tmp_path / "words.tsv").read_text(encoding="utf-8") == (
        "split\tdocument\tsegment\tcolumn\tsymbol\telsewhere\tright_on\tloss_on\tright_bypassed\tloss_bypassed\n"
        "test\t0\t1\t2\t33\t1\t1\t0.250000\t0\t0.333333\n"
        "test\t4\t0\t7\t9\t0\t0\t3.000000\t0\t2.000000\n"
    )
