"""The results of a run, by its config alone: which files tables are made of, and which tables and figures there are."""

import pytest

from cross_thought.data.run_results import RunResults

CONFIG = {
    "models": {
        "slots": {"source": "pretrain", "cross_sequence": True, "segment_length": 12},
        "long": {"source": "pretrain", "cross_sequence": True, "segment_length": 13},
        "given": {"source": "path", "location": "model.pt"},
    },
    "corpus": {"source": "demo"},
    "tasks": {"RTE": {"learning_rate": [1e-5, 2e-5]}, "MRPC": {}},
    "seeds": [3, 4],
    "pretraining_seed": 7,
}


def test_files_are_in_the_order_of_the_config() -> None:
    run = RunResults(CONFIG, "there")
    assert run.histories() == ["there/pretrain/slots/seed-7/history.tsv", "there/pretrain/long/seed-7/history.tsv"]
    assert run.evaluations("metrics.json")[:3] == [
        "there/evaluate/slots/RTE/seed-3/metrics.json",
        "there/evaluate/slots/RTE/seed-4/metrics.json",
        "there/evaluate/slots/MRPC/seed-3/metrics.json",
    ]
    assert len(run.evaluations("metrics.json")) == 3 * 2 * 2
    assert run.choices() == [f"there/finetune/{model}/RTE/choice.json" for model in CONFIG["models"]]
    assert run.settings()[1] == "there/evaluate/slots/RTE/learning_rate-1e-05/seed-4/predictions.tsv"
    assert len(run.settings()) == 3 * 2 * 2
    # a segment of more than one of the demo's sentences tells its words itself; a given model has no pre-training here
    assert run.cross_path() == ["there/cross_path/slots/seed-7.json"]
    assert run.case_study() == ["there/cross_attention/slots/seed-7.json"]


def test_embeddings_are_ours_by_encoder_seed_task_and_pooling_and_then_of_words() -> None:
    run = RunResults(
        CONFIG
        | {
            "embedding": {"pooling": ["mean", "concat"]},
            "embedding_tasks": {"MRPC": {}, "STS-B": {}},
            "embedding_tuning": {"pairs": {"MRPC": {}}},
        }
    )
    assert run.tuned_models == {f"{model}@MRPC": (model, "MRPC") for model in CONFIG["models"]}
    assert {encoder: run.seeds_of(encoder) for encoder in ("slots", "given", "given@MRPC")} == {
        "slots": [7],
        "given": [7],
        "given@MRPC": [3, 4],
    }
    files = run.embeddings("pairs.tsv")
    assert files[:4] == [
        "results/embeddings/slots/MRPC/mean/seed-7/pairs.tsv",
        "results/embeddings/slots/MRPC/concat/seed-7/pairs.tsv",
        "results/embeddings/slots/STS-B/mean/seed-7/pairs.tsv",
        "results/embeddings/slots/STS-B/concat/seed-7/pairs.tsv",
    ]
    assert files[-3:] == [f"results/embeddings/{m}/pairs.tsv" for m in ("tf-idf/MRPC", "bm25/MRPC", "tf-idf/STS-B")]
    assert len(files) == (3 + 3 * 2) * 2 * 2 + 3


@pytest.mark.parametrize(
    ("more", "tables"),
    [
        ({"tasks": {}, "corpus": {"source": "files"}}, {"pretraining", "masked_words"}),
        ({"tasks": {"MRPC": {}}}, {"tasks", "pretraining", "masked_words", "cross_path"}),
        ({"models": {"given": CONFIG["models"]["given"]}}, {"tasks", "sweeps"}),
        ({"tasks": {}, "models": {}, "mteb_tasks": ["STS12"]}, set()),
        (
            {
                "embedding_tasks": {"MRPC": {}},
                "mteb_tasks": ["STS12"],
                "ablation": {"segment_length": ["slots", "long"]},
            },
            {
                *("tasks", "sweeps", "embeddings", "mteb", "pretraining"),
                *("masked_words", "cross_path", "ablations"),
            },
        ),
    ],
)
def test_a_table_is_made_where_there_is_something_in_it(more: dict, tables: set[str]) -> None:
    run = RunResults(CONFIG | more)
    assert set(run.made_of) == tables
    of_figures = {"tasks": "tasks", "losses": "pretraining", "masked_words": "masked_words", "ablations": "ablations"}
    drawn = {figure for figure, table in of_figures.items() if table in tables}
    drawn |= {"cross_attention"} if "pretraining" in tables else set()
    assert set(run.figures) == drawn
    assert len(set(run.computed_from())) == len(run.computed_from())
