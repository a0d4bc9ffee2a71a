"""One judgement a row, and the counts of many."""

import pytest

from arith_hf import scoring, solver, summary, tasks
from arith_hf.metric.exact_answer import wilson
from arith_hf.notation import expression as notation
from arith_hf.notation import of
from arith_hf.tasks.base import Fault

TASK = tasks.get("expression")
EXPRESSION = "5 + (10 - 3)"
RIGHT = notation.completion(TASK.work(EXPRESSION))


def Completion(text: str, num_tokens: int, finished: bool) -> solver.Completion:
    return solver.Completion(text, num_tokens, finished, notation.read_answer(text) if finished else None)


def row(expression: str = EXPRESSION, **more: object) -> dict:
    answer = str(TASK.work(expression).answer)
    return {"file": "test.jsonl", "problem": notation.problem(expression), "answer": answer, "kind": "valid"} | more


@pytest.mark.parametrize(
    ("text", "finished", "right", "steps_right", "fault"),
    [
        (RIGHT, True, True, True, None),
        (RIGHT, False, False, False, (2, "the text was cut off after 2 steps", "cut")),
        (RIGHT.replace("Result: 12", "Result: 13"), True, False, False, (2, "the answer is 12, not 13", "answer")),
        (RIGHT.replace("10 - 3 = 7", "10 - 3 = 8"), True, True, False, (0, "10 - 3 is 7, not 8", "digit")),
        (RIGHT.replace("now: 5 + 7", "now: 5 + 8"), True, True, False, (0, "what remains is 5 + 7, not 5 + 8", "copy")),
        (RIGHT.replace("Step 2", "Step 3"), True, True, False, (1, "this is step 2, not 3", "numbering")),
        ("<think>\n</think>\nFinal Result: 12", True, True, False, (0, "need 2 steps, got 0", "stop")),
        ("", True, False, False, (0, "need 2 steps, got 0", "stop")),
        ("nothing", True, False, False, (0, "not in the form: 'nothing'", "wording")),
        (notation.completion(TASK.work("3 +")), True, False, False, (0, "need 2 steps, got 0", "verdict")),
    ],
)
def test_a_completion_is_judged_step_by_step(
    text: str, finished: bool, right: bool, steps_right: bool, fault: tuple[int, str, str] | None
) -> None:
    judged = scoring.judge(row(), Completion(text, 9, finished))
    assert (judged["right"], judged["steps_right"]) == (right, steps_right)
    assert judged["fault"] == (None if fault is None else dict(zip(("index", "reason", "kind"), fault, strict=True)))
    assert judged | row() == judged
    assert "unseen" not in judged


def test_a_malformed_problem_has_no_step_to_get_wrong() -> None:
    error = Completion(notation.completion(TASK.work("3 +")), 5, True)
    judged = scoring.judge(row("3 +"), error, set())
    assert (judged["right"], judged["steps_right"], judged["unseen"]) == (True, True, 0)


def test_facts_that_were_never_trained_on_are_counted() -> None:
    counts = [
        scoring.judge(row(), Completion("", 1, True), facts)["unseen"]
        for facts in (set(), {"10 - 3"}, {"10 - 3", "5 + 7"}, {"0 - 3", "5 + 70"})
    ]
    assert counts == [2, 1, 0, 2]


def test_groups_are_counted_and_rows_aside_only_by_kind() -> None:
    known = {"10 - 3", "5 + 7"}
    error = notation.completion(TASK.work("3 +"))
    samples = [
        scoring.judge(row(level=2, steps=2), Completion(RIGHT, 40, True), known),
        scoring.judge(row(level=2, steps=2), Completion(error, 6, True), known),
        scoring.judge(row("1 + 1", level=1, steps=10), Completion("", 2, False), known),
        scoring.judge(row("3 +", kind="invalid") | {"file": "aside.jsonl"}, Completion(error, 6, True), known),
    ]
    block = scoring.score(samples, "test.jsonl")
    assert (block["n"], block["exact_match"], block["steps_match"], block["called_error"]) == (3, *[0.3333] * 3)
    assert block["steps_match_interval"] == wilson(1, 3)
    sizes = {
        name: {key: part["n"] for key, part in block[name].items()}
        for name in block
        if name[:3] == "by_" and name != "by_level_and_size"
    }
    assert sizes == {
        "by_level": {"1": 1, "2": 2},
        "by_steps": {"2": 2, "10": 1},
        "by_kind": {"invalid": 1, "valid": 3},
        "by_unseen": {"none": 2, "some": 1},
    }
    assert block["by_kind"]["invalid"]["exact_match"] == 1.0
    assert "by_unseen" not in scoring.score([{k: v for k, v in samples[0].items() if k != "unseen"}], "test.jsonl")


@pytest.mark.parametrize(
    ("right", "faulty", "finished", "readable", "outcome"),
    [
        (True, False, True, True, "right"),
        (True, True, True, True, "unfaithful"),
        (False, True, True, True, "wrong"),
        (False, True, True, False, "unparseable"),
        (False, True, False, False, "truncated"),
    ],
)
def test_outcomes(right: bool, faulty: bool, finished: bool, readable: bool, outcome: str) -> None:
    fault = Fault(0, "why", "digit") if faulty else None
    assert scoring.outcome(right, fault, finished, readable) == outcome


def test_outcomes_and_first_faults_are_counted() -> None:
    wrong_digit = RIGHT.replace("10 - 3 = 7", "10 - 3 = 8")
    chain = "+".join(["1"] * 14)
    thirteen = notation.completion(TASK.work(chain))
    late = thirteen.replace("12 + 1 = 13", "12 + 1 = 14")
    samples = [
        scoring.judge(row(), Completion(RIGHT, 40, True)),
        scoring.judge(row(), Completion(wrong_digit, 40, True)),
        scoring.judge(row(), Completion(RIGHT.replace("Result: 12", "Result: 13"), 40, True)),
        scoring.judge(row(), Completion(RIGHT[:30], 40, False)),
        scoring.judge(row(), Completion(RIGHT[:-2], 40, True)),
        scoring.judge(row(chain), Completion(late, 300, True)),
        scoring.judge(row("3 +") | {"file": "aside.jsonl"}, Completion("", 1, True)),
    ]
    assert samples[1]["valid"] == [False, True]
    assert samples[4]["valid"] == [True, True]
    block = scoring.score(samples, "test.jsonl")
    assert block["outcomes"] == {"right": 1, "unfaithful": 2, "wrong": 1, "unparseable": 1, "truncated": 1}
    assert block["faults"] == {
        "by_kind": {"digit": 2, "none": 1, "answer": 1, "cut": 1},
        "by_step": {"1": 2, "3": 2, "11+": 1},
    }
    assert block["step_validity"] == round(19 / 21, 5)
    assert summary.counts("first faults", block["faults"]["by_step"]) == "  first faults: 1 2, 3 2, 11+ 1"
    assert summary.counts("first faults", {}) == "  first faults: none"


# Token by token, step by step


def column_row(problem: str, form: str = "addition/columns", file: str = "test.jsonl") -> dict:
    working = tasks.get(form).work(problem)
    return {
        "file": file,
        "problem": problem,
        "expression": problem,
        "answer": str(working.answer),
        "task": form,
        "level": tasks.get(form).level(problem),
        "steps": len(working.steps),
        "kind": "valid",
        "carries": tasks.get(form).carries(problem),
    }


def judged(row: dict, text: str, agreed: float | None = None) -> dict:
    answer = of(row["task"]).read_answer(text)
    return scoring.judge(row, solver.Completion(text, 9, True, answer, agreed))


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("<think>8+9=17 5+8+1=14 6+1+1=8</think>847", 3),
        ("<think>8+9=17 5+8+1=13 6+1+1=8</think>847", 2),  # what stands behind a fault counts for itself
        ("<think>8+9=17 5+8=13 6+1+1=8</think>847", 2),
        ("<think>8+9=17 5+8+1=14</think>847", 2),
        ("<think>5+8+1=14 8+9=17 6+1+1=8</think>847", 0),  # four terms where none carries: nothing can be read
        ("<think>8+9=17 5+8+1=14 6+1+1=8 0+0=0</think>847", 3),
        ("<think>8+9=17 5+8x</think>847", 1),
        ("847", 0),
        ("", 0),
    ],
)
def test_steps_done_are_those_that_are_right_at_their_place(text: str, done: int) -> None:
    assert judged(column_row("658+189="), text)["steps_done"] == done


@pytest.mark.parametrize(("form", "text"), [("addition/direct", "847"), ("addition/reversed", "748")])
def test_a_form_without_steps_has_none_done(form: str, text: str) -> None:
    sample = judged(column_row("658+189=", form), text)
    assert (sample["right"], sample["steps_right"]) == (True, True)
    assert "steps_done" not in sample
    assert scoring.score([sample], "test.jsonl")["step_accuracy"] is None


def test_padding_is_no_step() -> None:
    padded = column_row("5+6=", "addition/columns/zero_pad=3")
    text = of(padded["task"]).solution("005+006=")
    assert text.count("0+0") == 2
    sample = judged(padded, text)
    assert (sample["steps"], sample["steps_done"]) == (1, 1)
    assert scoring.score([sample], "test.jsonl")["step_accuracy"] == 1.0


def test_step_accuracy_is_a_share_of_all_steps() -> None:
    samples = [
        judged(column_row("658+189="), "<think>8+9=17 5+8+1=13 6+1+1=8</think>847"),
        judged(column_row("1+2="), "<think>1+2=3</think>3"),
        judged(column_row("12+34="), ""),
        judged(column_row("5+5=", file="aside.jsonl"), "<think>5+5=11</think>11"),
    ]
    block = scoring.score(samples, "test.jsonl")
    assert block["step_accuracy"] == 0.5, "three of six, not the mean of the problems"
    assert block["token_accuracy"] is None, "without drafts nothing is known of it"
    assert {key: part["n"] for key, part in block["by_carries"].items()} == {"0": 2, "2": 1}


def test_step_accuracy_of_expressions_needs_each_whole_step() -> None:
    written = RIGHT.replace("now: 5 + 7", "now: 5 + 8")
    samples = [
        scoring.judge(row(steps=2), Completion(RIGHT, 40, True)),
        scoring.judge(row(steps=2), Completion(written, 40, True)),
        scoring.judge(row("12", steps=0), Completion("", 1, True)),  # of no steps
    ]
    block = scoring.score(samples, "test.jsonl")
    assert [sample["steps_done"] for sample in samples] == [2, 1, 0]
    assert (block["step_accuracy"], "by_carries" in block) == (0.75, False)


def test_token_accuracy_is_the_mean_over_problems() -> None:
    right = "<think>1+2=3</think>3"
    samples = [
        judged(column_row("1+2="), right, 1.0),
        judged(column_row("2+1="), right, 0.25),
        judged(column_row("5+5="), right),  # answered without a draft
        judged(column_row("3+4=", file="aside.jsonl"), right, 0.0),
    ]
    assert [sample.get("agreed") for sample in samples] == [1.0, 0.25, None, 0.0]
    assert scoring.score(samples, "test.jsonl")["token_accuracy"] == 0.625
