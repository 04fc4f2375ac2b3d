"""The command line, `cross-thought` or `python -m cross_thought`: embed, predict, export models, verify results."""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from cross_thought import __version__
from cross_thought.data.readers import FORMATS as INPUT_FORMS
from cross_thought.data.readers import JSON_LINES, PARQUET, TSV, format_of
from cross_thought.encoder import POOLINGS
from cross_thought.errors import UserError, environment_error, exit_on_user_error
from cross_thought.files import check_output
from cross_thought.inference.classifier import STDIN, Form, SentenceClassifier, predict_files
from cross_thought.inference.embed import PRECISIONS, SentenceEncoder, embed_file
from cross_thought.inference.fine_tuned import PRECISIONS as FINE_TUNED_PRECISIONS
from cross_thought.inference.settings import FORMATS
from cross_thought.inference.tally import remarks

_INTERRUPTED = 128 + signal.SIGINT
_EXTRAS = dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "onnx")  # of packages that a command needs at times


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the arguments name."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    signal.signal(signal.SIGTERM, _leave)
    with exit_on_user_error():
        try:
            options.run(options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would complain when it flushes
            sys.exit(128 + signal.SIGPIPE)
        except ModuleNotFoundError as error:
            raise _missing_package(error, options.command) from None
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = environment_error(error)
            if sentence is None and isinstance(error, OSError) and error.filename:
                sentence = UserError(f"{error.filename}: {error.strerror}; correct the path")
            if sentence is None:
                raise
            raise sentence from None


def _leave(number: int, _: object) -> NoReturn:
    """Leave at once, but by an exception: half-written files are removed."""
    sys.exit(128 + number)


def _missing_package(error: ModuleNotFoundError, command: str) -> Exception:
    """Return what to say of a package that a command needs: those of embedding come with ours, others by an extra."""
    name = (error.name or "").partition(".")[0]
    if name == "cross_thought":
        return error
    extra = "" if command == "embed" else f"[{_EXTRAS.get(name, command)}]"
    return UserError(
        f"`cross-thought {command}` needs the package {name}, which is not installed: "
        f"pip install 'cross-thought{extra}'"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cross-thought", description="Sentence embeddings, and predictions.")
    parser.add_argument("--version", action="version", version=f"cross-thought {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="PATH",
        help="fairseq checkpoint, an export, or USER/MODEL on the hub",
    )
    model.add_argument(
        "--revision", help="branch, tag or commit of a model on Hugging Face's hub (default: the newest)"
    )
    model.add_argument(
        "--vocabulary",
        type=Path,
        metavar="FOLDER",
        help="dict.txt, encoder.json and vocab.bpe of a checkpoint (default: beside it, or in its results folder)",
    )
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    pooling = argparse.ArgumentParser(add_help=False)
    pooling.add_argument("--pooling", choices=POOLINGS, help="of the slot states (default: an export's own, or mean)")
    task = argparse.ArgumentParser(add_help=False)
    task.add_argument(
        "--labels",
        nargs="+",
        metavar="NAME",
        help="the labels' names, in the order of the head's outputs (default: as the model tells them)",
    )
    task.add_argument(
        "--score-scale", type=float, metavar="S", help="what scores were divided by for training (default: likewise)"
    )

    embed = commands.add_parser("embed", parents=[model, pooling, device], help="embed the lines of a text file")
    embed.add_argument("--input", default="-", metavar="FILE", help="UTF-8 text, a sentence a line (default: stdin)")
    embed.add_argument("--output", default="-", metavar="FILE", help=".npy file to write, float32 (default: stdout)")
    embed.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="scale each embedding to length 1, or leave out an export's own Normalize (default: as the export has it)",
    )
    prompts = embed.add_mutually_exclusive_group()
    prompts.add_argument("--prompt", metavar="TEXT", help="put before each sentence (default: an export's own, if any)")
    prompts.add_argument("--prompt-name", metavar="NAME", help="a prompt of the export, by its name")
    embed.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the computation")
    embed.add_argument("--batch-tokens", type=_positive, metavar="N", help="tokens at once (default: by the device)")
    embed.set_defaults(run=_embed)

    predict = commands.add_parser(
        "predict", parents=[model, task, device], help="predict the rows of a file with a fine-tuned model"
    )
    predict.add_argument(
        "--input", default="-", metavar="FILE", help="TSV, CSV, JSON lines or Parquet, maybe .gz (default: stdin)"
    )
    predict.add_argument("--output", default="-", metavar="FILE", help="the TSV file to write (default: stdout)")
    predict.add_argument(
        "--columns",
        nargs="+",
        type=lambda text: int(text) if text.isdecimal() else text,
        metavar="COLUMN",
        help="of the sentences, by name or by number from 1 (default: as in the task's files)",
    )
    predict.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line of TSV and CSV names the columns (default: if --columns has names, or the task's "
        "files have it)",
    )
    predict.add_argument("--format", choices=INPUT_FORMS, help="of the input (default: by its ending, else tsv)")
    predict.add_argument("--probabilities", action="store_true", help="write those of all labels, too")
    predict.add_argument("--precision", choices=FINE_TUNED_PRECISIONS, default="float32", help="of the computation")
    predict.set_defaults(run=_predict)

    export = commands.add_parser("export", parents=[model, pooling, task], help="write a model folder for others")
    export.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    export.add_argument("--format", choices=FORMATS, default="safetensors", help="(default: safetensors)")
    export.add_argument("--int8", action="store_true", help="of --format onnx: int8 weights (default: float32)")
    export.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="results folder that the model card tells of (default: the one that the checkpoint lies in)",
    )
    export.add_argument("--name", help="the model's name in these results, and on the card (default: by its path)")
    export.set_defaults(run=_export)

    verify = commands.add_parser("verify", help="recompute the numbers of result tables from the predictions")
    verify.add_argument(
        "results", nargs="?", default="results", help="results folder, or an archive of a run (default: results)"
    )
    verify.set_defaults(run=_verify)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)


def _loading(options: argparse.Namespace) -> dict[str, Any]:
    """Return how a model is loaded, as `from_pretrained` is told it."""
    return {name: getattr(options, name) for name in ("vocabulary", "revision", "device", "precision")}


def _source(options: argparse.Namespace) -> Path:
    """Return the file that is read."""
    return STDIN if options.input == "-" else Path(options.input)


def _embed(options: argparse.Namespace) -> None:
    to_stdout = options.output == "-"
    if to_stdout and sys.stdout.isatty():
        raise UserError("embeddings are binary: give --output FILE, or send stdout to a file or a command")
    if not to_stdout and not options.output.endswith(".npy"):
        raise UserError(f"--output {options.output}: embeddings are written as .npy; give a name that ends so")
    if not to_stdout:
        check_output(Path(options.output), sources=[_source(options)])
    encoder = SentenceEncoder.from_pretrained(options.model, **_loading(options))
    with tempfile.TemporaryDirectory(prefix="cross-thought-") as scratch:
        output = Path(scratch, "embeddings.npy") if to_stdout else Path(options.output)
        num_sentences = embed_file(
            encoder,
            _source(options),
            output,
            pooling=options.pooling,
            normalize=options.normalize,
            prompt=options.prompt,
            prompt_name=options.prompt_name,
            batch_tokens=options.batch_tokens,
            show_progress=True,
        )
        if to_stdout:
            with open(output, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.flush()
    num_cut, longest = encoder.num_cut_sentences, encoder.max_seq_length
    is_positions = longest == encoder.encoder.config.max_sentence_length
    limit = "the positions that the encoder has" if is_positions else f"{longest} tokens, as the export has it"
    cut = f", {num_cut} of them cut to {limit}" if num_cut else ""
    print(f"embedded {num_sentences} sentences{cut}", *remarks(encoder), sep="; ", file=sys.stderr)


def _predict(options: argparse.Namespace) -> None:
    to_stdout = options.output == "-"
    if not to_stdout and (format_of(options.output) != TSV or options.output.lower().endswith(".gz")):
        raise UserError(f"--output {options.output}: predictions are written as TSV; give a name that ends in .tsv")
    if not to_stdout:
        check_output(Path(options.output), sources=[_source(options)])
    form = Form(columns=tuple(options.columns or ()), form=options.format, header=options.header)
    classifier = SentenceClassifier.from_pretrained(
        options.model, **_loading(options), labels=options.labels, score_scale=options.score_scale
    )
    num_rows = predict_files(
        classifier,
        [_source(options)],
        None if to_stdout else Path(options.output),
        form=form,
        probabilities=options.probabilities,
        show_progress=True,
    )
    num_cut, longest = classifier.num_cut_sentences, classifier.max_seq_length
    cut = f", {num_cut} sentences of them cut to {longest} tokens, as in training" if num_cut else ""
    print(f"predicted {num_rows} rows{cut}", *remarks(classifier), sep="; ", file=sys.stderr)
    form = form.of(classifier.task)
    has_lines = (form.form or format_of(options.input)) not in (JSON_LINES, PARQUET)
    if has_lines and form.header and not any(isinstance(column, str) for column in form.columns):
        print("the first line was taken for the names of the columns (--no-header: for a row)", file=sys.stderr)


def _export(options: argparse.Namespace) -> None:
    from cross_thought.inference.export import export_model

    export_model(
        options.model,
        options.output,
        output_format=options.format,
        pooling=options.pooling,
        vocabulary=options.vocabulary,
        revision=options.revision,
        results=options.results,
        model_name=options.name,
        labels=options.labels,
        score_scale=options.score_scale,
        int8=options.int8,
    )
    print(f"wrote {options.output}", file=sys.stderr)


def _verify(options: argparse.Namespace) -> None:
    from cross_thought.tables import verify

    sys.exit(verify.main([options.results]))


if __name__ == "__main__":
    main()
