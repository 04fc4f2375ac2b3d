"""The plan of a run: its figures, those of docs/full-run.md that come from it, refusals."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cross_thought.config import load_files
from cross_thought.errors import UserError
from cross_thought.plan import cost
from cross_thought.plan.__main__ import main, pick_devices, plan
from cross_thought.plan.cost import Training, disk, finetunings, jobs, memory, pretrainings
from cross_thought.plan.devices import Device, find_device, read_devices

REPOSITORY = Path(__file__).parents[3]
PAGE = REPOSITORY / "docs/full-run.md"


def config(name: str) -> dict:
    return load_files([REPOSITORY / "config" / f"{name}.yaml"])


def hours(training: Training, device: str) -> float:
    return training.hours(find_device(device), precision="float16", share=0.4, processes=1)


def test_the_pages_full_run_is_the_plans() -> None:
    """Each figure of "The full run", computed, as its text rounds it."""
    paper, released = config("paper"), config("released")
    model, control = pretrainings(paper)
    per_seed = sum(hours(training, "A100") for training in finetunings(paper))
    kinds = {kind: size / 1e9 for kind, size in disk(paper).items()}
    data = sum(size for kind, size in kinds.items() if kind != "checkpoints")
    total = hours(model, "A100") + hours(control, "A100") + 2 * 5 * per_seed
    sizes = cost.sizes_of(paper)["cross_thought"]
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    for sentence in (
        f"A word costs {sizes.stream_flops(32000, scored=0.15) / 32000 / 1e6:.0f} MFLOP forward",
        f"{model.flops / model.updates:.1e}".replace("e+", "e") + " an update of 16 x 32,000 words",
        f"{model.flops:.1e}".replace("e+", "e") + " in 125,000 updates",
        f"that is {hours(model, 'A100'):.0f} hours a model ({hours(model, 'H100'):.0f} on an H100",
        f"takes {per_seed:.1f} hours a model and seed",
        f"In all some {total:.0f} A100-hours for two models and five seeds",
        f"and {5 * sum(hours(training, 'A100') for training in finetunings(released)):.0f} for `config/released.yaml`",
        f"A process's training step needs {memory(paper)['cross_thought'] / 1e9:.0f} GB.",
        f"about {data:.0f} GB of data (downloads {kinds['downloads']:.0f}, corpus {kinds['corpus']:.0f}, BPE ids "
        f"{kinds['BPE ids']:.0f}, binarized {kinds['binarized']:.0f}) and {kinds['checkpoints']:.0f} GB of checkpoints",
    ):
        assert sentence in text
    assert model.words == 125000 * 16 * 32000
    assert jobs(paper) == {"pre-training": 2, "fine-tuning": 100, "tuning embeddings": 0, "evaluation": 110}


@pytest.mark.parametrize("name", ["paper", "roberta-start", "released"])
def test_the_pages_table_of_runs_is_the_plans(name: str) -> None:
    checked = config(name)
    each = [f"{hours(training, 'A100'):.2g} h" for training in pretrainings(checked)[:1]]  # the control's is the same
    total = sum(
        training.count * hours(training, "A100") for training in [*pretrainings(checked), *finetunings(checked)]
    )
    size = sum(disk(checked).values()) / 1e9
    row = [f"`config/{name}.yaml`", *(each or [""]), f"{total:.0f} h", f"{total / 8:.0f} h", f"{size:.0f} GB"]
    text = PAGE.read_text(encoding="utf-8")
    (found,) = (line for line in text.splitlines() if line.startswith(f"| `config/{name}.yaml` |"))
    assert [cell.strip() for cell in found.split("|")[1:6]] == row


@pytest.mark.parametrize(
    ("name", "num_lines"), [("paper", 13), ("roberta-start", 12), ("released", 10), ("ablations", 9)]
)
def test_every_training_has_a_line(name: str, num_lines: int) -> None:
    checked = config(name)
    lines = list(plan(checked, devices=pick_devices(None, checked["hardware"]), share=0.4))
    table = lines[lines.index("") + 1 :]
    table = table[: table.index("")]
    assert len(table) == num_lines + 1
    assert table[-1].startswith("all in turn")


def test_the_sweep_that_ships_is_counted_before_it_runs(tmp_path: Path) -> None:
    for split in ("test", "valid"):
        (tmp_path / "wikitext").mkdir(exist_ok=True)
        (tmp_path / f"wikitext/wiki.{split}.tokens").write_text("A baker keeps hens .\n")
    checked = load_files([REPOSITORY / "config/sweep.yaml"], data_dir=str(tmp_path))
    num_settings, num_models, num_seeds = 3 * 2, 2, len(checked["seeds"])
    runs = 2 * num_settings * num_models * num_seeds
    assert jobs(checked) == {
        "pre-training": num_models,
        "fine-tuning": runs,
        "tuning embeddings": 0,
        "evaluation": runs,
    }
    lines = list(plan(checked, devices=pick_devices(None, checked["hardware"]), share=0.4))
    assert f"settings to choose from: {num_settings} of RTE, {num_settings} of MRPC" in lines


def test_processes_share_a_pretraining_and_a_gpu_has_its_limit() -> None:
    device = Device(name="card", tflops={"float32": 10.0}, memory_gb=10, source="")
    training = Training(stage="pre-training", name="model", count=1, updates=8, words=1, flops=3600 * 4e12)
    settings = {"precision": "float32", "share": 0.4}
    assert training.hours(device, processes=1, **settings) == pytest.approx(1)
    assert training.hours(device, processes=2, **settings) == pytest.approx(0.5)
    quick = Training(stage="fine-tuning", name="task", count=1, updates=8 * 7200, words=1, flops=1)
    assert quick.hours(device, processes=1, **settings) == pytest.approx(2)


def test_own_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("a\n" * 4400)
    (tmp_path / "task.tsv").write_text("s\tl\n" + "x\tno\n" * 100)
    (tmp_path / "my.yaml").write_text(
        f"""
corpus: {{source: files, files: {{train: [{tmp_path}/corpus.txt]}}}}
bpe: {{source: gpt2}}
tasks:
  mine:
    files: {{train: {tmp_path}/task.tsv, valid: {tmp_path}/task.tsv}}
    input_columns: [1]
    label_column: 2
    labels: ["no", "yes"]
    batch_size: 30
finetuning: {{num_epochs: 2}}
"""
    )
    checked = load_files([tmp_path / "my.yaml"])
    assert disk(checked)["corpus"] == 8800
    assert disk(checked)["BPE ids"] == pytest.approx(2 * 2000)
    (task,) = finetunings(checked)
    assert (task.updates, task.count) == (2 * 4, 2 * 3)


@pytest.mark.parametrize("num_parts", [1, 3])
def test_what_gzip_has_packed_is_counted_unpacked(num_parts: int, tmp_path: Path) -> None:
    lines = [f"{number * number:x} {number}\n" for number in range(400_000)]
    part = gzip.compress("".join(lines).encode())
    assert len(part) > 1 << 20  # more than the plan reads
    (tmp_path / "corpus.txt.gz").write_bytes(part * num_parts)  # gzip's files may be put one after the other
    (tmp_path / "task.tsv.gz").write_bytes(gzip.compress(b"s\tl\n") + gzip.compress(b"x\tno\n" * 100))
    files = {"train": f"{tmp_path}/task.tsv.gz", "valid": f"{tmp_path}/task.tsv.gz"}
    task = {"files": files, "input_columns": [1], "label_column": 2, "labels": ["no", "yes"], "batch_size": 30}
    own = {"corpus": {"source": "files", "files": {"train": [f"{tmp_path}/corpus.txt.gz"]}}, "tasks": {"mine": task}}
    (tmp_path / "my.yaml").write_text(json.dumps(own | {"finetuning": {"num_epochs": 2}}))
    checked = load_files([tmp_path / "my.yaml"])
    assert disk(checked)["corpus"] == pytest.approx(num_parts * sum(map(len, lines)), rel=0.05)
    assert [training.updates for training in finetunings(checked)] == [2 * 4]


def test_what_embeddings_are_evaluated_and_tuned_on_is_downloaded_too() -> None:
    checked = load_files(
        [],
        tasks={"RTE": {}},
        embedding_tasks={"RTE": {}, "STS12": {}},
        retrieval_tasks={"HotpotQA-fullwiki": {}},
        embedding_tuning={"pairs": {"SNLI": {}}},
    )
    assert cost.downloads(checked) == {
        "beir/hotpotqa.zip": 654025350,
        "glue/RTE.zip": 697150,
        "senteval/senteval.tar": None,
        "snli_1.0.zip": 94550081,
    }


def test_every_setting_of_a_sweep_is_counted() -> None:
    sweep = {"learning_rate": [1e-5, 2e-5, 3e-5], "batch_size": [16, 32]}
    tasks = {"RTE": sweep | {"start_from": "MNLI"}, "MNLI": {"learning_rate": [1e-5, 2e-5]}, "AX": {}}
    checked = load_files([], tasks=tasks, finetuning={"num_epochs": 3}, seeds=[1, 2])
    found = {training.name: (training.count, training.updates) for training in finetunings(checked)}
    assert found == {
        "RTE, batch_size 16": (2 * 2 * 3, 3 * 156),
        "RTE, batch_size 32": (2 * 2 * 3, 3 * 78),
        "MNLI": (2 * 2 * 2, 3 * 12272),
    }
    assert jobs(checked) == {
        "pre-training": 4,
        "fine-tuning": 32,
        "tuning embeddings": 0,
        "evaluation": 2 * 2 * (6 + 2 + 1),
    }
    (model, _) = cost.sizes_of(checked).values()
    assert disk(checked)["sweeps"] == 2 * 2 * (model.num_parameters * 4 * 2)  # MNLI's wait for the choice
    lines = list(plan(checked, devices=pick_devices(None, checked["hardware"]), share=0.4))
    assert "settings to choose from: 6 of RTE, 2 of MNLI" in lines


def test_tuned_embeddings_are_counted() -> None:
    pairs = {"captions-find": {}, "MNLI": {}}
    checked = load_files([], embedding_tuning={"pairs": pairs, "batch_size": 100, "num_epochs": 2}, seeds=[1, 2])
    found = {training.name: (training.count, training.updates) for training in cost.tunings(checked)}
    assert found == {
        "captions-find": (4, 2 * 1160),
        "MNLI": (4, 2 * 1309),  # a third of 392,702 rows entail
    }
    assert jobs(checked)["tuning embeddings"] == 8
    lines = list(plan(checked, devices=pick_devices(None, checked["hardware"]), share=0.4))
    assert sum(line.startswith("tuning embeddings") for line in lines) == 2
    assert "labels equally frequent in what embeddings are tuned on" in lines[-1]


def test_a_device_that_is_unknown_or_does_not_fit_is_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "abacus"])
    assert capsys.readouterr().err == (
        f"error: --device abacus is unknown: choose one of {', '.join(read_devices())}, or add a line to "
        "resources/devices.tsv\n"
    )
    with pytest.raises(UserError, match=r"--device V100 does not fit .*\.precision bfloat16: choose one of A100, H100"):
        pick_devices("v100", {"device": "cuda", "precision": "bfloat16"})
    with pytest.raises(SystemExit):
        main(["--share", "1.5"])
    assert "--share is 1.5: give a part" in capsys.readouterr().err


def test_a_line_of_devices_that_lacks_a_figure_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "devices.tsv"
    table.write_text(Path(REPOSITORY, "resources/devices.tsv").read_text() + "mine\tfast\t1\t1\t1\tme\n")
    with pytest.raises(UserError, match=r"line 10: could not convert string to float: 'fast' is amiss"):
        read_devices(table)


def test_every_device_has_a_source() -> None:
    for device in read_devices().values():
        assert re.match(r"https://www\.|https://images\.|measured: ", device.source), device.name


def test_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cross_thought.plan", "config/paper.yaml", "--device", "A100"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.search(r"pre-training +cross_thought +1 +125,000 +6\.4e\+10 +3\.9e\+19 +87\.4 h\n", done.stdout)
    assert done.stderr == ""
