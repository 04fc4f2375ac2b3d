"""The table of sweeps, and what the table of tasks says of them."""

from cross_thought.data.tasks import TASKS
from cross_thought.tables.layout import csv_text, markdown
from cross_thought.tables.sweeps import sweep_rows, sweeps_page
from cross_thought.tables.tasks import task_notes, task_rows
from tests.unit.evaluation.test_choice import answers, choose


def test_a_section_a_task_a_line_a_setting_a_column_a_model() -> None:
    first = choose(answers(6, 6, 7), answers(10, 5, 10))
    second = choose(answers(9, 9, 9), answers(1, 2, 3)) | {"model": "cross_thought"}
    undefined = choose(answers(1), answers(2)) | {"task": "WNLI", "metric": "f1"}
    undefined["settings"]["learning_rate-0.1"] |= {"median": None, "values": {"1": None}}
    rows = sweep_rows([first, undefined, second])
    assert csv_text(rows).splitlines()[:4] == [
        "model,task,setting,split,metric,median,n,seeds,values,best",
        "mlm,RTE,learning_rate-0.1,valid,accuracy,60,3,1 2 3,60 60 70,no",
        "mlm,RTE,learning_rate-0.2,valid,accuracy,100,3,1 2 3,100 50 100,yes",
        "mlm,WNLI,learning_rate-0.1,valid,f1,,1,1,n/a,no",
    ]
    text = markdown(sweeps_page(rows))
    of_rte, of_wnli = text.split("## ")[1:3]
    assert of_rte.splitlines()[0] == "RTE acc."
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in of_rte.splitlines()[2:6]][::2] == [
        ["setting", "mlm", "cross_thought"],
        ["learning_rate 0.1", "60.0 (3)", "**90.0 (3)**"],
    ]
    assert "| **100.0 (3)** | 20.0 (3)" in of_rte
    assert "n/a" in of_wnli
    assert "of equals the first" in text


def test_the_tasks_say_how_many_runs_a_setting_was_chosen_from() -> None:
    tasks = {"RTE": TASKS["RTE"]}
    document = {"model": "mlm", "task": "RTE", "splits": {}}
    scored = {"num_examples": 10, "metrics": {"accuracy": 0.5}}
    documents = [document | {"seed": seed, "splits": {"valid": scored}} for seed in (1, 2, 3)]
    runs = {("mlm", "RTE", seed): splits for seed, splits in answers(5, 5, 5).items()}
    rows = task_rows(documents, runs, models=["mlm"], tasks=tasks)
    said = "RTE: each model's setting was chosen on the development set by the median of its main metric, out of 18"
    (note,) = [note for note in task_notes(rows, tasks, {}, {"RTE": 6}) if note.startswith(said)]
    assert note == f"{said} runs a model: settings 6, seeds 3 (`sweeps.md`)."
    assert not any("chosen" in note for note in task_notes(rows, tasks, {}))
