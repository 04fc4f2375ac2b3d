"""Lines that break readers and tokenizers, and ordinary text to learn BPE from."""

import random

HOSTILE_LINES = [
    *("", "", "", "plain words", "", "  leading", "trailing  ", "\tboth\t", " ", "\r", "\x0b\x0c", "\u3000wide\u3000"),
    *("nul\x00inside", "\x00", "\x1c\x1dseparators\x1e", "\x85next line\x85", "line\u2028and\u2029paragraph"),
    *("carriage\rreturn", "ends in one\r", "\ufeffa byte order mark", "escaped \\ud800 surrogate \\n \\u2028"),
    *("emoji 😀👩‍👩‍👧 🇩🇪", "e\u0301 combining", "\u200bzero width\u200b", "نص عربي", "中文字", "\u180emongolian"),
    *(
        "it's we'll I'VE 's",
        "don''t 'll",
        "<|endoftext|>",
        "<s> </s> <unk> <mask>",
        "a   b    c",
        "x \u00a0 y",
        "9 876 543,21",
    ),
    *("...!!!???", "http://example.org/?a=b&c=d", '"quoted" “text”', "tab\tinside", "   ", "", "", "last"),
    *("a" * 1_000_000, "word " * 200_000, "é" * 500_000, "0123456789" * 100_000),
    "".join(random.Random(1).choices("abcdefgh ,.é\t", k=1_000_000)),
]


def training_text() -> str:
    """Return a text of documents with an uneven spread of words, some of them rare."""
    generator = random.Random(1)
    words = ["the", "cat", "sat", "on", "mats", "café", "naïve", "it's", "12", "1,000", "“well”", "...", "😀", "Zürich"]
    weights = [2.0 ** -(place / 2) for place in range(len(words))]
    lines = [" ".join(generator.choices(words, weights, k=generator.randint(0, 12))) for _ in range(400)]
    return "\n".join(lines) + "\n"
