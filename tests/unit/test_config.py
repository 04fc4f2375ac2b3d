"""The effective config: inheritance, and each refusal in one sentence."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cross_thought.config import SCHEMA, effective_config, load_config, load_files
from cross_thought.errors import UserError
from cross_thought.yaml_text import read_yaml

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def config() -> dict:
    """Return the demo's config."""
    return yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))


def change(config: dict, path: str, value: object) -> dict:
    """Return the config with the key at a dotted path set."""
    changed = copy.deepcopy(config)
    *parents, last = path.split("/")
    place = changed
    for key in parents:
        place = place[key]
    place[last] = value
    return changed


def test_the_captions_ablations_run_both_tasks_on_half_of_the_examples() -> None:
    merged = load_files(REPOSITORY / "config" / name for name in ("captions.yaml", "captions-ablations.yaml"))
    assert {name: entry["max_train_examples"] for name, entry in merged["tasks"].items()} == {
        "captions-same": 6000,
        "captions-pick": 3000,
    }
    assert (
        load_files([REPOSITORY / "config/captions.yaml"])["models"]["cross_thought"]["pretraining"]["max_updates"]
        == 8000
    )


def test_an_empty_mapping_over_one_with_entries_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("tasks: {}\nmodels: {mlm: {cross_sequence: false}}\ncontrol: null\n")
    second.write_text("models: {}\n")
    said = f"{second}: models is empty, which takes nothing away from models of {first}: give one of them alone"
    with pytest.raises(UserError, match=re.escape(said)):
        load_files([first, second])
    with pytest.raises(UserError, match=re.escape(said)):
        load_config({}, files=[first, second])
    with pytest.raises(UserError, match="--config: models is empty"):
        load_config({}, files=[first], command_line={"models": {}})
    with pytest.raises(UserError, match="the arguments: models is empty"):
        load_files([first], models={})
    as_json = tmp_path / "b.json"
    as_json.write_text('{\t"models": {}}')
    with pytest.raises(UserError, match=r"b\.json: models is empty"):
        load_config({}, files=[first, as_json])
    with pytest.raises(UserError, match=r"b\.json: models is empty"):
        load_files([first, as_json])
    first.write_text("predict: {new: {files: a.tsv}}\nembedding_tuning: {pairs: {demo-match: {}}}\n")
    for key, text in (("predict", "predict: {}"), ("embedding_tuning.pairs", "embedding_tuning: {pairs: {}}")):
        second.write_text(text)
        with pytest.raises(UserError, match=f"{re.escape(key)} is empty, which takes nothing away"):
            load_files([first, second])
    first.write_text("tasks: {}\n")
    second.write_text("tasks: {}\n")  # neither has any
    assert load_files([first, second])["tasks"] == {}


def test_a_short_stream_of_sentences_has_several_segments() -> None:
    sizes = {"segment_by": "sentence", "segment_length": 64, "num_positions": 128}
    load_config({"model_defaults": sizes | {"pretraining": {"tokens_per_sample": 64}}})


def test_json_is_read_as_snakemake_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"finetuning": {"learning_rate": 1e-5}}')  # YAML's 1e-5 is a text
    assert load_files([path])["finetuning"]["learning_rate"] == 1e-5
    path.write_text('{"finetuning": {"num_epochs": 1, "num_epochs": 2}}')
    for load in (lambda: load_files([path]), lambda: load_config({}, files=[path])):
        with pytest.raises(UserError, match=r"a\.json: the key 'num_epochs' stands twice; leave one"):
            load()


def test_models_inherit_from_the_defaults(config: dict) -> None:
    config["models"]["mlm"]["pretraining"] = {"max_updates": 77, "warmup_updates": 7}
    models = effective_config(config)["models"]
    assert models["cross_thought"] == config["model_defaults"]
    assert models["mlm"]["cross_sequence"] is False
    assert models["mlm"]["pretraining"] == config["model_defaults"]["pretraining"] | {
        "max_updates": 77,
        "warmup_updates": 7,
    }


def test_the_users_config_is_left_as_it_was(config: dict) -> None:
    before = copy.deepcopy(config)
    effective_config(config)
    assert config == before


def test_data_dir_is_filled_in(config: dict, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a text\n")
    config = change(config, "data_dir", f"{tmp_path}/")
    config["corpus"] |= {"source": "files", "files": {"train": ["{data_dir}/text.txt"]}}
    assert effective_config(config)["corpus"]["files"]["train"] == [f"{tmp_path}/text.txt"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("copus", {}, "unknown key 'copus' at the top level; did you mean corpus?"),
        ("corpus/sauce", "demo", "unknown key 'sauce' at corpus; did you mean source?"),
        ("model_defaults/pretraining/lr", 0.1, "unknown key 'lr' at model_defaults.pretraining; known keys: "),
        ("models/mlm/cross_sequnce", True, "unknown key 'cross_sequnce' at models.mlm; did you mean cross_sequence?"),
        ("corpus/source", "the web", "corpus.source is 'the web'; it must be one of demo, "),
        ("corpus/valid_fraction", 0, "corpus.valid_fraction is 0; it must be more than 0"),
        ("seeds", [], "seeds is []; it must not be empty"),
        ("seeds", [1, 1], "seeds is [1, 1]; its entries must differ"),
        ("seeds", "1", "seeds is '1'; it must be a list"),
        ("pretraining_seed", "all", "pretraining_seed is 'all'; each: a pre-training for every seed"),
        ("models", {}, "models is {}; it must not be empty"),
        ("models/a b", {}, "models has the name 'a b'; use letters, digits"),
        ("models/chance", {}, "models.chance has a name that the tables use themselves; choose another"),
        ("models/tf-idf", {}, "models.tf-idf has a name that the tables use themselves; choose another"),
        ("tasks/average", {}, "tasks.average has a name that the tables use themselves; choose another"),
        (
            "embedding_tasks/a",
            {"input_columns": [1, 2, 3]},
            "a.input_columns is [1, 2, 3]; it must have at most 2 entries",
        ),
        ("model_defaults/num_slots", 0, "model_defaults.num_slots is 0; it must be at least 1"),
        ("model_defaults/segment_length", 64, "models.cross_thought.segment_length 64 with num_slots 2 does not fit"),
        ("models/mlm/num_positions", 15, "does not fit num_positions 15; set num_positions to 16 or more"),
        ("models/mlm/source", "path", "models.mlm.location is null, but source is 'path'"),
        (
            "models/mlm",
            {"source": "path", "location": "no/such.pt"},
            "models.mlm.location is 'no/such.pt', which is no file",
        ),
        ("models/mlm", {"embed_dim": 65, "num_heads": 4}, "embed_dim 65 is not a multiple of num_heads 4"),
        ("model_defaults/pretraining/warmup_updates", 900, "warmup_updates 900 must be less than max_updates 900"),
        ("data_dir", "no/such/folder", "data_dir is 'no/such/folder', which is no folder"),
        ("corpus/source", "files", "corpus.source is 'files', but corpus.files is empty"),
        ("corpus/files", {"train": ["{data_dir}/a"]}, "corpus.files.train is '{data_dir}/a', but data_dir is not set"),
        ("corpus/files", {"train": ["a.txt"]}, "corpus.files is {'train': ['a.txt']}, and is of own text alone, but"),
        (
            "corpus/text_field",
            "body",
            "corpus.text_field is 'body', and is of own text alone, but corpus.source is 'demo'",
        ),
        ("control", "bert", "control is 'bert', which is no model; choose one of cross_thought, mlm, or null"),
        ("hardware/precision", "float16", "hardware.precision float16 needs hardware.device cuda"),
        ("hardware/precision", "bf16", "hardware.precision is 'bf16'; it must be one of float32, bfloat16, float16"),
        ("hardware/checkpoint_activations", 1, "hardware.checkpoint_activations is 1; it must be true or false"),
        (
            "ablation",
            {"num_slot": ["mlm", "cross_thought"]},
            "ablation has the name 'num_slot'; it must be one of num_slots, ",
        ),
        ("ablation", {}, "ablation is {}; it must not be empty"),
        ("ablation", {"num_slots": ["mlm"]}, "ablation.num_slots is ['mlm']; it needs at least 2 entries"),
        ("ablation", {"num_slots": ["mlm", "k4"]}, "ablation.num_slots names 'k4', which is no model; choose from"),
        (
            "ablation",
            {"num_layers": ["mlm", "cross_thought"]},
            "ablation.num_layers compares models.mlm.num_layers, which is null; give the number",
        ),
        (
            "ablation",
            {"segment_length": ["mlm", "cross_thought"]},
            "ablation.segment_length: mlm and cross_thought both have segment_length 12; they must differ",
        ),
        ("tasks/demo-match", {"start_from": "MNLI"}, "demo-match.start_from is 'MNLI', which is no other task of this"),
        ("tasks/demo-match", {"start_from": "demo-match"}, "start_from is 'demo-match', which is no other task"),
        ("embedding/pooling", "max", "embedding.pooling is 'max'; it must be one of mean, concat, slot0"),
        (
            "embedding_tasks/RTE",
            {"num_epochs": 3},
            "unknown key 'num_epochs' at embedding_tasks.RTE; known keys: check_rows, folder",
        ),
        (
            "embedding_tasks/demo-overlap",
            {"check_rows": False},
            "embedding_tasks.demo-overlap.check_rows: the data of demo-overlap are those of tasks.demo-overlap; say it",
        ),
        (
            "embedding_tasks/mine",
            {"files": {"test": "gone.tsv"}},
            "embedding_tasks.mine.files.test is 'gone.tsv', which is no file; correct the path",
        ),
        ("tasks/demo-match", {"num_epoch": 3}, "unknown key 'num_epoch' at tasks.demo-match; did you mean num_epochs?"),
    ],
)
def test_refusals(config: dict, path: str, value: object, message: str) -> None:
    with pytest.raises(UserError) as error:
        effective_config(change(config, path, value))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_overlay_replaces_tasks_and_models_and_is_laid_over_the_rest(config: dict) -> None:
    effective = load_config(
        {"tasks": {"RTE": None}, "models": {"one": {}}, "bpe": {"vocab_size": 300}, "control": None}
    )
    assert effective["tasks"] == {"RTE": {}}
    assert list(effective["models"]) == ["one"]
    assert effective["bpe"] == {"source": "train", "vocab_size": 300}
    assert effective["corpus"] == config["corpus"]


def test_an_overlay_with_tasks_of_its_own_inherits_no_embedding_tasks() -> None:
    assert load_config({"tasks": {"RTE": {}}})["embedding_tasks"] == {}
    assert load_config({"tasks": {"RTE": {}}, "embedding_tasks": {"MRPC": None}})["embedding_tasks"] == {"MRPC": {}}
    assert load_config({"seeds": [1]})["embedding_tasks"] == {"demo-overlap": {}, "demo-find": {}}


def test_values_of_the_command_line_are_read_as_a_files() -> None:
    # as Snakemake's --config leaves them
    given = {
        "seeds": ["1", "2"],
        "hardware": {"threads": "2", "precision": "bfloat16"},
        "finetuning": {"keep_checkpoints": "true", "learning_rate": "1.0e-3"},
        "control": "null",
    }
    overlay = given | {"hardware": given["hardware"] | {"device": "cpu"}, "pretraining_seed": 3}
    config = load_config(overlay, command_line=given)
    assert config["seeds"] == [1, 2]
    assert [config["hardware"][key] for key in ("threads", "precision", "device")] == [2, "bfloat16", "cpu"]
    assert [config["finetuning"][key] for key in ("keep_checkpoints", "learning_rate")] == [True, 1e-3]
    assert config["control"] is None
    with pytest.raises(UserError, match=r"^config: seeds.1 is '2'; it must be a whole number$"):
        load_config(overlay)  # a file says so


def test_a_missing_key_is_named(config: dict) -> None:
    del config["corpus"]["source"]
    with pytest.raises(UserError, match=r"key 'source' is missing at corpus; the default is in config\.yaml"):
        effective_config(config)


def test_models_of_an_ablation_differ_in_one_factor(config: dict) -> None:
    config["models"]["slots"] = {"num_slots": 1, "num_positions": 15}
    config["ablation"] = {"num_slots": ["slots", "cross_thought"], "cross_sequence": ["mlm", "cross_thought"]}
    assert effective_config(config)["ablation"] == config["ablation"]
    config["models"]["slots"]["pretraining"] = {"mask_prob": 0.3}
    with pytest.raises(
        UserError, match=r"num_slots: slots and cross_thought also differ in pretraining.mask_prob; all else must"
    ):
        effective_config(config)


def test_a_given_checkpoint_is_not_ablated(config: dict, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    config["models"]["given"] = {"source": "path", "location": str(tmp_path / "model.pt"), "num_slots": 1}
    config["ablation"] = {"num_slots": ["cross_thought", "given"]}
    with pytest.raises(UserError, match="names given, which is not pre-trained here; choose models that are"):
        effective_config(config)


def test_a_task_does_not_start_from_one_that_starts_elsewhere(config: dict) -> None:
    config["tasks"]["demo-job"] = {"start_from": "demo-match"}
    assert effective_config(config)["tasks"]["demo-job"] == {"start_from": "demo-match"}
    config["tasks"]["demo-match"] = {"start_from": "demo-overlap"}
    with pytest.raises(UserError, match="is 'demo-match', which itself starts from demo-overlap; name that one"):
        effective_config(config)


def test_the_check_without_snakemake_looks_at_all_tasks(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("embedding_tasks: {SST-2: {}}")
    command = [sys.executable, "-m", "cross_thought.config", str(tmp_path / "my.yaml")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: embedding_tasks.SST-2 has single sentences")


def test_the_schema_has_each_key_once_and_asks_for_all_of_the_config(config: dict) -> None:
    schema = read_yaml(SCHEMA)  # refuses a key that stands twice
    assert set(schema["required"]) == set(schema["properties"]) == set(config)
