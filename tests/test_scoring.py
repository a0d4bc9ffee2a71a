"""One judgement a row, and the counts of many."""

import pytest

from arith_hf import notation, scoring, tasks
from arith_hf.metric.exact_answer import wilson
from arith_hf.solver import Completion

TASK = tasks.get("expression")
EXPRESSION = "5 + (10 - 3)"
RIGHT = notation.completion(TASK.work(EXPRESSION))


def row(expression: str = EXPRESSION, **more: object) -> dict:
    answer = str(TASK.work(expression).answer)
    return {"file": "test.jsonl", "problem": notation.problem(expression), "answer": answer, "kind": "valid"} | more


@pytest.mark.parametrize(
    ("text", "finished", "right", "steps_right", "fault"),
    [
        (RIGHT, True, True, True, None),
        (RIGHT, False, False, False, (2, "the answer is 12, not None")),
        (RIGHT.replace("Result: 12", "Result: 13"), True, False, False, (2, "the answer is 12, not 13")),
        (RIGHT.replace("10 - 3 = 7", "10 - 3 = 8"), True, True, False, (0, "10 - 3 is 7, not 8")),
        (RIGHT.replace("now: 5 + 7", "now: 5 + 8"), True, True, False, (0, "what remains is 5 + 7, not 5 + 8")),
        (RIGHT.replace("Step 2", "Step 3"), True, True, False, (1, "need 2 steps, got 1")),
        ("<think>\n</think>\nFinal Result: 12", True, True, False, (0, "need 2 steps, got 0")),
        ("", True, False, False, (0, "need 2 steps, got 0")),
        (notation.completion(TASK.work("3 +")), True, False, False, (0, "need 2 steps, got 0")),
    ],
)
def test_a_completion_is_judged_step_by_step(
    text: str, finished: bool, right: bool, steps_right: bool, fault: tuple[int, str] | None
) -> None:
    judged = scoring.judge(row(), Completion(text, 9, finished))
    assert (judged["right"], judged["steps_right"]) == (right, steps_right)
    assert judged["fault"] == (None if fault is None else {"index": fault[0], "reason": fault[1]})
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
    sizes = {name: {key: part["n"] for key, part in block[name].items()} for name in block if name.startswith("by_")}
    assert sizes == {
        "by_level": {"1": 1, "2": 2},
        "by_steps": {"2": 2, "10": 1},
        "by_kind": {"invalid": 1, "valid": 3},
        "by_unseen": {"none": 2, "some": 1},
    }
    assert block["by_kind"]["invalid"]["exact_match"] == 1.0
    assert "by_unseen" not in scoring.score([{k: v for k, v in samples[0].items() if k != "unseen"}], "test.jsonl")
