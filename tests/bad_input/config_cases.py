"""Configs that cannot be meant so: each goes the way of `--configfile`, without the start of a Snakemake each time."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from snakemake.common.configfile import load_configfile

from cross_thought.config import load_config
from cross_thought.data.embedding_tasks import embedding_tasks_of
from cross_thought.data.pairs import pair_tasks_of
from cross_thought.data.retrieval_tasks import retrieval_tasks_of
from cross_thought.data.tasks import tasks_of
from cross_thought.yaml_text import read_yaml
from tests.bad_input.cases import Case, refusal

REPOSITORY = Path(__file__).parents[2]
OWN = "files: {train: a.tsv, valid: a.tsv}, input_columns: [1, 2], label_column: 3"

# what is wrong, and the YAML laid over config.yaml; `a.tsv` is there, `folder` is a folder
VALUES = [
    ("one value where a list belongs", "seeds: 1"),
    ("a number that YAML reads as text", "model_defaults: {pretraining: {learning_rate: 1e-5}}"),
    ("a broken number where a whole one belongs", "model_defaults: {pretraining: {max_updates: 900.0}}"),
    ("no number", "finetuning: {weight_decay: .nan}"),
    ("a negative number", "corpus: {valid_fraction: -0.1}"),
    ("zero of something", "model_defaults: {num_slots: 0}"),
    ("a huge seed", "seeds: [99999999999]"),
    ("a huge size", "model_defaults: {embed_dim: 1000000000000}"),
    ("an empty list", "seeds: []"),
    ("no model at all", "models: {}"),
    ("an entry twice", "seeds: [1, 2, 1]"),
    ("a value that is none of the choices", "bpe: {source: gpt3}"),
    ("an unknown key", "training: {epochs: 3}"),
    ("a key written wrongly", "tasks: {RTE: {num_epoch: 3}}"),
    ("a name with a space", "models: {my model: {}}"),
    ("a name that the tables use", "models: {majority: {}}"),
    ("the same, of a task", f"tasks: {{average: {{{OWN}}}}}"),
    ("labels that YAML reads as truth values", f"tasks: {{mine: {{{OWN}, labels: [no, yes]}}}}"),
    ("a list that holds itself", "seeds: &seeds [*seeds]"),
    ("a sweep of nothing", "finetuning: {learning_rate: []}"),
    ("a sweep of one value twice", "tasks: {RTE: {batch_size: [16, 16]}}"),
    ("a sweep with a value that YAML reads as text", "finetuning: {learning_rate: [1.0e-5, 2e-5]}"),
    ("a list of what is not swept", "finetuning: {dropout: [0.0, 0.1]}"),
    ("patience that ends at once", "model_defaults: {pretraining: {patience: 0}}"),
]
COMBINATIONS = [
    ("a segment longer than the positions", "model_defaults: {segment_length: 64}"),
    ("heads that do not divide the width", "model_defaults: {embed_dim: 65, num_heads: 4}"),
    ("a warm-up longer than the training", "model_defaults: {pretraining: {warmup_updates: 1000}}"),
    ("a warm-up longer than the fine-tuning", "tasks: {RTE: {num_updates: 10, warmup_updates: 20}}"),
    (
        "a warm-up longer than the published fine-tuning",
        "tasks: {RTE: {num_epochs: 10, warmup_updates: 3000}}",
    ),
    ("the same, of one setting of a sweep", "tasks: {RTE: {num_updates: 100, warmup_updates: [10, 200]}}"),
    ("a warm-up that is said twice", "finetuning: {warmup_updates: 10, warmup_fraction: 0.1}"),
    ("a sweep of a task that is not fine-tuned", "tasks: {MNLI: {}, AX: {learning_rate: [1.0e-5, 2.0e-5]}}"),
    (
        "patience without validations",
        "model_defaults: {pretraining: {patience: 3, extra_args: [--disable-validation]}}",
    ),
    ("wrapped lines of text that is not one's own", "corpus: {lines: wrapped}"),
    ("wrapped WikiText", "corpus: {source: files, files: {train: [a.txt]}, format: wikitext, lines: wrapped}"),
    ("float16 on a CPU", "hardware: {precision: float16}"),
    ("a number format by another name", "hardware: {precision: bf16}"),
    ("batches that the processes cannot share", "hardware: {processes: 2}"),
    ("a control that is no model", "control: bert"),
    ("a checkpoint without its place", "models: {mine: {source: path}}"),
    ("a start from a task that is not there", "tasks: {RTE: {start_from: MNLI}}"),
    ("an unknown task", "tasks: {RET: {}}"),
    ("embeddings of single sentences", "embedding_tasks: {SST-2: {}}"),
    ("embeddings tuned on scores", "embedding_tuning: {pairs: {STS-B: {}}}"),
    ("embeddings tuned on a task without a train set", "embedding_tuning: {pairs: {AX: {}}}"),
    ("embeddings tuned on a label that there is not", "embedding_tuning: {pairs: {MRPC: {positive_label: same}}}"),
    ("a collection without judgements", "retrieval_tasks: {mine: {queries: a.tsv, passages: a.tsv}}"),
    ("a collection that does not ship", "retrieval_tasks: {HotpotQA: {}}"),
    ("other files for one that ships", "retrieval_tasks: {HotpotQA-fullwiki: {queries: a.tsv}}"),
    (
        "a metric beyond what is ranked",
        "retrieval_tasks: {mine: {queries: a.tsv, passages: a.tsv, judgements: {test: a.tsv}, depth: 10, metrics: [recall@100]}}",
    ),
    ("another task's model, of a task that is not there", "tasks: {AX: {}}"),
    ("a pattern that matches nothing", f"tasks: {{mine: {{{OWN.replace('train: a.tsv', 'train: b-*.tsv')}}}}}"),
    ("labels twice", f"tasks: {{mine: {{{OWN}, labels: [a, b], label_names: [a, b]}}}}"),
    ("an own task with a known task's name", f"tasks: {{RTE: {{{OWN}}}}}"),
    ("a label that is a sentence", f"tasks: {{mine: {{{OWN.replace('3', '2')}}}}}"),
    ("a sentence that is its own pair", f"tasks: {{mine: {{{OWN.replace('[1, 2]', '[1, 1]')}}}}}"),
    ("class weights of other labels", f"tasks: {{mine: {{{OWN}, labels: [a, b], class_weights: {{a: 1, c: 2}}}}}}"),
    ("class weights that are none", "finetuning: {class_weights: even}"),
    ("label smoothing of scores", "finetuning: {label_smoothing: 0.1}"),
    ("F1 of three labels", f"tasks: {{mine: {{{OWN}, labels: [a, b, c], metrics: [f1]}}}}"),
    ("a flag that the workflow sets", 'finetuning: {extra_args: ["--restore-file", "mine.pt"]}'),
    ("a flag that a key of the config stands for", 'finetuning: {extra_args: ["--lr", "0.0001"]}'),
    ("a flag and its value in one", 'finetuning: {extra_args: ["--adam-eps 1e-8"]}'),
    ("a flag without which nothing is left to keep", "finetuning: {extra_args: [--disable-validation]}"),
    ("a machine that is not supported", "model_defaults: {pretraining: {extra_args: [--tpu]}}"),
    ("a precision for GPUs, on a CPU", "finetuning: {extra_args: [--memory-efficient-fp16]}"),
    ("predictions on a task that is not there", "predict: {new: {files: a.tsv, model: mlm, task: RTE}}"),
    ("predictions by a model that is not there", "predict: {new: {files: a.tsv, model: bert, task: demo-job}}"),
    ("predictions of a seed that is not there", "predict: {new: {files: a.tsv, model: mlm, task: demo-job, seed: 9}}"),
    ("a checkpoint for a model that is trained here", "models: {mine: {location: a.tsv}}"),
    (
        "pre-training of a model that is given",
        "models: {mine: {source: path, location: a.tsv, pretraining: {max_updates: 5000}}}",
    ),
    ("a cross layer for a start that there is not", "models: {mine: {cross_layers: random}}"),
    ("streams of one segment", "model_defaults: {pretraining: {tokens_per_sample: 12}}"),
    ("own text that is not what is trained on", "corpus: {files: {train: [a.txt]}}"),
    ("tuning by a pooling that is not evaluated", "embedding_tuning: {pairs: {demo-match: {}}, pooling: concat}"),
    (
        "files of a task with other numbers of sentences",
        f"tasks: {{mine: {{{OWN.replace('valid: a.tsv', 'valid: {path: a.tsv, input_columns: [1]}')}}}}}",
    ),
    (
        "labels to ignore without a column of labels",
        "embedding_tasks: {mine: {files: {test: a.tsv}, input_columns: [1, 2], ignored_labels: [a]}}",
    ),
    ("the best accuracy of scores", f"tasks: {{mine: {{{OWN}, best_metric: accuracy}}}}"),
    ("clusters of an index that has none", "retrieval_tasks: {HotpotQA-fullwiki: {num_probes: 3}}"),
    (
        "rows to predict in a form that has no rows",
        "predict: {new: {files: a.tsv, model: mlm, task: demo-job, format: sts}}",
    ),
    ("named columns without a header", f"tasks: {{mine: {{{OWN.replace('3', 'label')}, header: false}}}}"),
]
PATHS = [
    ("rows to predict that are not there", "predict: {new: {files: gone.tsv, model: mlm, task: demo-job}}"),
    ("a folder that has not BEIR's files", "retrieval_tasks: {mine: {folder: folder}}"),
    ("a folder for a file", "models: {mine: {source: path, location: folder}}"),
    ("a start that is not there", "models: {mine: {initialize_from: roberta.pt}}"),
    ("a start that is not in a folder that is", "models: {mine: {initialize_from: folder/roberta}}"),
    ("a start from a folder that is no model", "models: {mine: {initialize_from: folder}}"),
    ("a start of what is trained already", "models: {mine: {source: path, location: a.tsv, initialize_from: a.tsv}}"),
    ("a folder without text", "corpus: {source: files, files: {train: [folder]}}"),
    ("a pattern without a match", 'corpus: {source: files, files: {train: ["folder/*.txt"]}}'),
    ("a corpus that is no text", "corpus: {source: files, files: {train: [books.zip]}}"),
    ("text to train on and to hold out", "corpus: {source: files, files: {train: [a.txt], valid: [a.txt]}}"),
    ("a file that is not there", "corpus: {source: files, files: {train: [gone.txt]}}"),
    ("a file for a folder", "data_dir: a.tsv"),
    ("a placeholder without its value", 'corpus: {source: files, files: {train: ["{data_dir}/a.txt"]}}'),
    ("a path with Snakemake's signs", 'corpus: {source: files, files: {train: ["{x}.txt"]}}'),
]
# what is wrong, and the content of my.yaml
FILES = [
    ("a key that stands twice, of which YAML would take the last", b"seeds: [1]\ncontrol: null\nseeds: [2]\n"),
    ("the same, deep inside", b"hardware:\n  threads: 1\n  threads: 2\n"),
    ("not UTF-8", b"# na\xefve\nseeds: [1]\n"),
    ("not YAML", b"seeds: [1\ncontrol: null\n"),
    ("a date of month 13", b"control: 2026-13-01\n"),
    ("an object of Python", b"control: !!python/object/apply:os.system [ls]\n"),
    ("a list, no keys", b"- seeds\n"),
    ("empty", b""),
]


def lay_over(content: bytes) -> None:
    """Load my.yaml of this content as rules/common.smk does."""
    Path("a.tsv").write_text("one\ttwo\tlabel\n")
    Path("a.txt").write_text("one\n")
    Path("{x}.txt").write_text("text\n")
    Path("folder").mkdir()
    path = Path("my.yaml").absolute()
    path.write_bytes(content)
    config = load_config(load_configfile(path), files=[path])
    tasks_of(config["tasks"])
    embedding_tasks_of(config)
    pair_tasks_of(config)
    retrieval_tasks_of(config)


def read_file(content: bytes) -> None:
    """Read my.yaml of this content as `python -m cross_thought.config` does."""
    Path("my.yaml").write_bytes(content)
    read_yaml(Path("my.yaml").absolute())


def unreadable_file() -> str:
    """Name a file that the user may not read; root may read all, unless it gives that up."""
    Path("secret.txt").write_text("text\n")
    Path("secret.txt").chmod(0)
    Path("my.yaml").write_text("corpus: {source: files, files: {train: [secret.txt]}}")
    command = [sys.executable, "-m", "cross_thought.config", "my.yaml"]
    done = subprocess.run(
        [*without_privileges(), *command], env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    return done.stderr.strip().removeprefix("error: ")


def without_privileges() -> list[str]:
    """Return what, put before a command, makes permissions hold for root, too."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search"]


CASES = [
    *(
        Case(group="Config: values", what=f"{what}: `{text}`", run=partial(refusal, partial(lay_over, text.encode())))
        for what, text in VALUES
    ),
    *(
        Case(group="Config: together", what=f"{what}: `{text}`", run=partial(refusal, partial(lay_over, text.encode())))
        for what, text in COMBINATIONS
    ),
    *(
        Case(group="Config: paths", what=f"{what}: `{text}`", run=partial(refusal, partial(lay_over, text.encode())))
        for what, text in PATHS
    ),
    Case(group="Config: paths", what="a file that one may not read", run=unreadable_file),
    *(
        Case(group="Config: files", what=what, run=partial(refusal, partial(read_file, content)))
        for what, content in FILES
    ),
    Case(group="Config: files", what="a folder", run=partial(refusal, partial(read_yaml, Path("/")))),
    Case(group="Config: files", what="not there", run=partial(refusal, partial(read_yaml, Path("gone.yaml")))),
]
