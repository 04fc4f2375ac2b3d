"""Embeddings: equal from the command, from Python and from an export, in any batch and order; nothing half-written."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from checkpoints import TEXT, write_checkpoint

from cross_thought import SentenceEncoder
from cross_thought.__main__ import main
from cross_thought.errors import UserError
from cross_thought.inference.embed import embed_file
from cross_thought.inference.export import export_model

REPOSITORY = Path(__file__).parents[3]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # two wait for each other on a busy machine


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint whose positions take 600 tokens."""
    return write_checkpoint(tmp_path_factory.mktemp("embed") / "model", num_positions=700)


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> SentenceEncoder:
    return SentenceEncoder.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def sentences(encoder: SentenceEncoder) -> list[str]:
    """Return sentences of 1 to 600 tokens, every length up to 40, in random order, some of them twice."""
    draw = random.Random(1)
    words = " ".join(TEXT).split()
    wanted = [*range(1, 41), 64, 100, 255, 256, 257, 511, 512, 513, 600]
    found = [""]
    for length in wanted:
        sentence = ""
        while (size := len(encoder.tokenizer.token_ids([sentence])[0]) - 2) != length:
            if size > length:
                sentence = ""  # a fresh try
            sentence = f"{sentence} {draw.choice([*words, 'a', 'q'])}".strip()
        found.append(sentence)
    draw.shuffle(found)
    return [*found, *found[:5]]


@pytest.fixture(scope="module")
def alone(encoder: SentenceEncoder, sentences: list[str]) -> np.ndarray:
    """Return the embeddings of the sentences, each computed by itself."""
    return np.stack([encoder.encode(sentence, pooling="concat") for sentence in sentences])


def run_command(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    """Run `python -m cross_thought`."""
    command = [sys.executable, "-m", "cross_thought", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=ONE_THREAD, capture_output=True, check=False, **options)


def test_slot_states_are_those_of_the_encoder(encoder: SentenceEncoder) -> None:
    [row] = encoder.tokenizer.token_ids([TEXT[0]])
    with torch.inference_mode():
        slot_states = encoder.encoder.embed_sentences(torch.tensor([row]))[0].numpy()
    assert np.allclose(encoder.encode(TEXT[0]), slot_states.mean(0), atol=1e-6)
    assert np.allclose(encoder.encode(TEXT[0], pooling="slot0"), slot_states[0], atol=1e-6)
    concat = encoder.encode(TEXT[:1], pooling="concat")
    assert concat.shape == (1, encoder.embedding_dim("concat")) == (1, 96)
    assert np.allclose(concat[0], slot_states.reshape(-1), atol=1e-6)
    normalized = encoder.encode(TEXT, normalize=True)
    assert normalized.dtype == np.float32
    assert np.allclose(np.linalg.norm(normalized, axis=1), 1)
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("batch_tokens", [1, 700, 100_000])
def test_neither_batch_nor_order_changes_an_embedding(
    encoder: SentenceEncoder, sentences: list[str], alone: np.ndarray, batch_tokens: int
) -> None:
    together = encoder.encode(sentences, pooling="concat", batch_tokens=batch_tokens)
    assert np.abs(together - alone).max() < 1e-5
    backwards = encoder.encode(iter(sentences[::-1]), pooling="concat", batch_tokens=batch_tokens)
    assert np.abs(backwards[::-1] - alone).max() < 1e-5


@pytest.mark.slow
def test_all_ways_to_embed_agree(
    checkpoint: Path, encoder: SentenceEncoder, sentences: list[str], tmp_path: Path
) -> None:
    """The command on a file and in a pipe, Python, an export here, and in Sentence Transformers."""
    expected = encoder.encode(sentences)
    text = tmp_path / "sentences.txt"
    text.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    done = run_command("embed", "--model", str(checkpoint), "--input", str(text), "--output", str(tmp_path / "e.npy"))
    assert done.returncode == 0, done.stderr
    assert b"embedded 55 sentences" in done.stderr
    found = np.load(tmp_path / "e.npy")
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5

    export_model(checkpoint, tmp_path / "export", output_format="sentence-transformers")
    piped = run_command("embed", "--model", str(tmp_path / "export"), input=text.read_bytes())
    assert piped.returncode == 0, piped.stderr
    (tmp_path / "piped.npy").write_bytes(piped.stdout)
    assert np.abs(np.load(tmp_path / "piped.npy") - expected).max() < 1e-5

    # in a process of its own, where no package of ours can be found
    script = (
        "import sys, numpy\n"
        "from sentence_transformers import SentenceTransformer\n"
        "text, folder, *outputs = sys.argv[1:]\n"
        "model = SentenceTransformer(folder, trust_remote_code=True, device='cpu')\n"
        "sentences = open(text, encoding='utf-8', newline='\\n').read().split('\\n')[:-1]\n"
        "numpy.save(outputs[0], model.encode(sentences, batch_size=7))\n"
        "model.save_pretrained(folder + '-saved')\n"
        "model = SentenceTransformer(folder + '-saved', trust_remote_code=True, device='cpu')\n"
        "numpy.save(outputs[1], model.encode(sentences[::-1])[::-1])\n"
        "assert model.get_embedding_dimension() == 32 and model.max_seq_length == 699\n"
        "model.max_seq_length = 10\n"
        "assert model.preprocess(['a ' * 50])['input_ids'].shape == (1, 10)\n"
        "assert not {'cross_thought', 'fairseq'} & set(sys.modules)\n"
    )
    outputs = [str(tmp_path / "st1.npy"), str(tmp_path / "st2.npy")]
    environment = {key: value for key, value in ONE_THREAD.items() if key != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    theirs = subprocess.run(
        [sys.executable, "-c", script, str(text), str(tmp_path / "export"), *outputs],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr
    for output in outputs:
        assert np.abs(np.load(output) - expected).max() < 1e-5


def test_a_sentence_that_is_too_long_is_cut_and_counted(checkpoint: Path, encoder: SentenceEncoder) -> None:
    words = " ".join(["a"] * 10_000)
    before = encoder.num_cut_sentences
    assert np.isfinite(encoder.encode([words, "short", words])).all()
    assert encoder.num_cut_sentences == before + 2
    room = encoder.encoder.config.max_sentence_length - 2
    fits, cut = " ".join(["a"] * room), " ".join(["a"] * (room + 1))
    assert [len(ids) for ids in encoder.tokenizer.token_ids([fits])] == [room + 2]
    assert np.allclose(*encoder.encode([fits, cut]), atol=1e-5)
    assert encoder.num_cut_sentences == before + 3
    done = run_command("embed", "--model", str(checkpoint), input=words.encode())
    assert b"embedded 1 sentences, 1 of them cut to the positions that the encoder has" in done.stderr


def test_tokens_that_the_vocabulary_has_not_are_counted(checkpoint: Path, encoder: SentenceEncoder) -> None:
    texts = ["a \u2603 b", "short", "a \u2603 b"]
    ids = [number for row in encoder.tokenizer.token_ids(texts) for number in row[1:]]  # without `<s>`
    unknown = sum(number == 3 or number >= encoder.tokenizer.vocab_size for number in ids)
    assert unknown > 0
    before = encoder.num_tokens, encoder.num_unknown_tokens
    encoder.encode(texts)
    assert (encoder.num_tokens - before[0], encoder.num_unknown_tokens - before[1]) == (len(ids), unknown)
    done = run_command("embed", "--model", str(checkpoint), input="\n".join(texts).encode())
    assert f"; {100 * unknown / len(ids):.2g} % of the tokens are unknown to the vocabulary" in done.stderr.decode()


def test_empty_sentences_are_embedded_and_told(checkpoint: Path, encoder: SentenceEncoder) -> None:
    before = encoder.num_empty_sentences
    assert encoder.encode(["", "short", " \t"]).shape == (3, 32)
    assert encoder.num_empty_sentences == before + 2
    done = run_command("embed", "--model", str(checkpoint), input=b"short\n\n")
    assert b"embedded 2 sentences; 1 sentence is empty" in done.stderr


def test_lower_precision_is_close(checkpoint: Path, encoder: SentenceEncoder) -> None:
    half = SentenceEncoder.from_pretrained(checkpoint, device="cpu", precision="bfloat16").encode(TEXT)
    assert half.dtype == np.float32
    assert np.abs(half - encoder.encode(TEXT)).max() < 0.1


def test_candidates_rank_alike_whether_embedded_before_or_not(encoder: SentenceEncoder) -> None:
    ranked = encoder.rank(TEXT[0], TEXT[1:])
    assert sorted(index for index, _ in ranked) == [0, 1, 2]
    weights = [weight for _, weight in ranked]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1)
    before = encoder.encode(TEXT[1:], pooling="concat")
    several = encoder.rank([TEXT[1], TEXT[0]], before)
    assert [index for index, _ in several[1]] == [index for index, _ in ranked]
    assert [weight for _, weight in several[1]] == pytest.approx(weights, abs=1e-6)
    # as they may lie on a disk, or come out of an index: float64, in other bytes, backwards, read-only
    backwards = before.astype(">f8")[::-1]
    backwards.flags.writeable = False
    found, expected = encoder.rank(TEXT[0], backwards), encoder.rank(TEXT[0], before)
    assert [index for index, _ in found] == [2 - index for index, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected], abs=1e-6)
    with pytest.raises(ValueError, match=r"candidates of shape \(3, 32\) must be one or more embeddings of pooling"):
        encoder.rank(TEXT[0], encoder.encode(TEXT[1:]))


def test_what_is_no_sentence_is_refused(encoder: SentenceEncoder, checkpoint: Path) -> None:
    with pytest.raises(TypeError, match="sentence 1 is 3, not a string"):
        encoder.encode(["a", 3])
    with pytest.raises(ValueError, match=r"sentence 0 holds half a surrogate pair, which is no text: 'a\\ud800'"):
        encoder.encode(["a\ud800"])
    for names in ({"a": "b"}, pandas.DataFrame({"a": ["b"]})):
        with pytest.raises(
            TypeError, match=r"(dict|DataFrame) goes by names, which would be taken for sentences: give a"
        ):
            encoder.encode(names)
    assert encoder.encode(pandas.Series(["a", "b"])).shape == (2, 32)
    with pytest.raises(ValueError, match=r"prompt '\\udcff' holds half a surrogate pair, which is no text"):
        encoder.encode(["a"], prompt="\udcff")
    with pytest.raises(TypeError, match="prompt 5 is not a string"):
        encoder.encode(["a"], prompt=5)
    for sentences in (["a"], []):
        with pytest.raises(ValueError, match="pooling 'max' is none of mean, concat, slot0"):
            encoder.encode(sentences, pooling="max")
    with pytest.raises(UserError, match="precision 'int8' is none of"):
        SentenceEncoder.from_pretrained(checkpoint, precision="int8")
    with pytest.raises(UserError, match="device 'abacus' cannot be used here"):
        SentenceEncoder.from_pretrained(checkpoint, device="abacus")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--input", "missing.txt", "--output", "{tmp}/e.npy"],
            "missing.txt is not there: put the file in its place or correct the path",
        ),
        (["--input", "{tmp}/latin.txt", "--output", "{tmp}/e.npy"], "latin.txt: byte 4 (0xe9) is not valid UTF-8"),
        (["--input", "{tmp}/good.txt", "--output", "{tmp}/e.csv"], "embeddings are written as .npy"),
        (["--input", "{tmp}/good.txt", "--output", "/proc/e.npy"], "No such file or directory; correct the path"),
        (["--input", "{tmp}", "--output", "{tmp}/e.npy"], "it is a folder where a file is needed"),
        (["--output", "{tmp}/folder.npy"], "folder.npy is a folder where a file is to be written: give another name"),
        (["--output", "{tmp}/good.txt/e.npy"], "good.txt is a file where a folder is needed for e.npy"),
        (["--prompt", "\udcff", "--output", "{tmp}/e.npy"], "prompt '\\udcff' holds half a surrogate pair"),
        (["--input", "{tmp}/e.npy", "--output", "{tmp}/e.npy"], "e.npy would take the place of what is read"),
        (["--prompt-name", "q", "--output", "{tmp}/e.npy"], "prompt_name 'q' is no prompt of this model: it has none"),
        (["--batch-tokens", "0"], "'0' is no number of at least 1"),
        (["--input", "{tmp}/rows.csv", "--output", "{tmp}/e.npy"], "rows.csv is no plain text by its name: write its"),
        (["--pooling", "max"], "invalid choice: 'max'"),
    ],
)
def test_the_command_refuses_in_a_sentence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    (tmp_path / "latin.txt").write_bytes("café\n".encode("latin-1").replace(b"caf", b" caf"))
    (tmp_path / "good.txt").write_text("a\n")
    (tmp_path / "e.npy").write_bytes(b"old")
    (tmp_path / "folder.npy").mkdir()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        main(["embed", "--model", str(checkpoint), *(part.format(tmp=tmp_path) for part in arguments)])
    signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code != 0
    assert message in capsys.readouterr().err
    assert (tmp_path / "e.npy").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.npy", "folder.npy", "good.txt", "latin.txt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_kill_leaves_no_half_written_output(checkpoint: Path, tmp_path: Path, number: int) -> None:
    """Sentences go on arriving in a pipe; the command is stopped when it has written a part of them."""
    output = tmp_path / "e.npy"
    command = [sys.executable, "-m", "cross_thought", "embed", "--model", str(checkpoint), "--output", str(output)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=ONE_THREAD, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write("".join(f"{number} cats\n" for number in range(1 << 16)).encode())
    partial = tmp_path / ".e.npy.partial"
    deadline = time.monotonic() + 300
    while not (partial.exists() and partial.stat().st_size > 1000):
        assert time.monotonic() < deadline, "the command has written nothing"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode in (-number, 128 + number)
    assert b"Traceback" not in errors
    assert not output.exists()
    if number != signal.SIGKILL:
        assert not partial.exists()
    # the same command again
    done = run_command("embed", "--model", str(checkpoint), "--output", str(output), input=b"a\nb\n")
    assert done.returncode == 0, done.stderr
    assert np.load(output).shape == (2, 32)
    assert not partial.exists()


def test_outputs_are_refused_before_the_model_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "there.npy").mkdir()
    (tmp_path / "file").touch()
    for arguments, message in (
        (["embed", "--output", f"{tmp_path}/there.npy"], "there.npy is a folder where a file is to be written"),
        (["export", "--output", f"{tmp_path}/file"], "file is a file where a folder is to be written"),
        (["export", "--output", f"{tmp_path}/file/below"], "file is a file where a folder is needed for below"),
    ):
        with pytest.raises(SystemExit):
            main([*arguments, "--model", str(tmp_path / "missing.pt")])
        assert message in capsys.readouterr().err


def test_an_empty_file_gives_no_embeddings(encoder: SentenceEncoder, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert embed_file(encoder, tmp_path / "empty.txt", tmp_path / "e.npy") == 0
    assert np.load(tmp_path / "e.npy").shape == (0, 32)


def test_a_reader_that_leaves_is_no_error_of_ours(checkpoint: Path) -> None:
    script = f"yes cat | head -1000 | {sys.executable} -m cross_thought embed --model {checkpoint} | head -c 10 | wc -c"
    done = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "10"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
