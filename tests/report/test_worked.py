"""Worked problems: a mix of right and wrong, each cut into its steps, each step marked as the judge says."""

import random

import left
import pytest
from corruption import COLUMNS, EXPRESSION, plant, plant_in_columns

from arith_hf import notation, scoring
from arith_hf.report import worked
from arith_hf.solver import Completion
from arith_hf.tasks.base import KINDS


def judged(planted, form):
    row = {"problem": planted.problem, "expression": planted.problem, "answer": "?", "task": form}
    row["problem"] = notation.of(form).problem(planted.problem)
    return scoring.judge(row, Completion(planted.text, 9, True, notation.of(form).read_answer(planted.text)))


def marks(row):
    return [part["mark"] for part in worked.pieces(row)]


def test_all_that_the_judge_says_has_words():
    assert tuple(worked.WORDS) == KINDS
    assert tuple(worked.OUTCOMES) == scoring.OUTCOMES


@pytest.mark.parametrize("kind", EXPRESSION)
def test_the_pieces_are_the_text_and_one_of_them_is_the_fault(kind):
    for seed in range(20):
        planted = plant(kind, f"{kind} {seed}")
        row = judged(planted, "expression")
        before, steps, behind = notation.of("expression").pieces(planted.text)
        assert before + "".join(steps) + behind == planted.text
        found = marks(row)
        assert found.count("fault") == 1
        assert "valid" not in found[found.index("fault") :]
        assert not {"follows", "after"} & set(found[: found.index("fault")])


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("form", ["addition/columns", "addition/columns/zero_pad=9"])
def test_sums_are_cut_into_columns(kind, form):
    for seed in range(20):
        planted = plant_in_columns(kind, f"{kind} {seed}")
        before, steps, behind = notation.of(form).pieces(planted.text)
        assert before + "".join(steps) + behind == planted.text
        assert marks(judged(planted, form)).count("fault") == 1


@pytest.mark.parametrize(("form", "text"), [("addition/direct", "9"), ("addition/reversed", "9"), ("expression", "9")])
def test_a_text_without_steps_is_one_piece(form, text):
    problem = "1+2=" if form.startswith("addition") else "Evaluate: 1 + 2"
    row = {"problem": problem, "answer": "3", "task": form}
    row = scoring.judge(row, Completion(text, 2, True, notation.of(form).read_answer(text)))
    assert worked.pieces(row) == [{"text": "9", "mark": "fault"}]
    empty = scoring.judge({**row}, Completion("", 0, True, None))
    assert worked.pieces(empty) == [{"text": "(nothing more)", "mark": "fault"}]


def test_a_wrong_line_that_is_gone_on_from():
    text = "<think>\nStep 1: 1 + 2 = 4\nExpression now: 4 - 9\nStep 2: 4 - 9 = -5\nExpression now: -5 + 1\n</think>"
    row = {"problem": "Evaluate: 1 + 2 - 9", "expression": "1 + 2 - 9", "answer": "-6", "task": "expression"}
    row = scoring.judge(row, Completion(text, 9, True, None))
    assert marks(row) == ["text", "fault", "after", "text"]
    row = scoring.judge(row, Completion(text.replace("-5 + 1", "-5"), 9, True, None))
    assert marks(row) == ["text", "fault", "follows", "text"]
    shown = worked.shown(row)
    assert (shown["fault"], shown["reason"]) == ("wrong result", "1 + 2 is 3, not 4")


def test_ten_are_a_mix_and_no_problem_stands_twice():
    rows = left.samples() * 2
    random.Random(0).shuffle(rows)
    chosen = worked.choose(rows)
    faulty = [row for row in chosen if worked.outcome(row) != "right"]
    assert (len(chosen), len(faulty)) == (10, 5)
    assert len({worked.kind(row) for row in faulty}) == 5, "each shows another fault"
    assert len({row["problem"] for row in chosen}) == 10
    assert worked.choose(left.samples()) == chosen, "whatever the order"


def test_where_all_are_right_or_all_are_wrong_there_are_still_ten():
    rows = left.samples()
    for wanted in ("right", "wrong"):
        some = [row for row in rows if (worked.outcome(row) == "right") == (wanted == "right")]
        assert len(worked.choose(some)) == 10
    assert worked.choose([]) == []


def test_rows_of_older_evaluations_are_still_shown():
    row = next(row for row in left.samples() if row["fault"])
    old = {key: value for key, value in row.items() if key not in ("outcome", "valid", "confidence", "level", "steps")}
    old["fault"] = {key: value for key, value in row["fault"].items() if key != "kind"}
    shown = worked.shown(old)
    assert shown["fault"] == "fault"
    assert [part["mark"] for part in shown["pieces"]].count("fault") == 1
    assert worked.choose([old]) == [old]
