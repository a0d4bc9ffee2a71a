"""The problems and completions that a reward is audited with."""

import pytest

from arith_hf import hostile, tasks

FORMS = ["expression", "addition/columns", "addition/direct", "addition/reversed", "addition/reversed/zero_pad=4"]
RIGHT = ["leading zeros (007)", "-0", "wrong answer, then right", "no working", "wrong working, right answer"]


def test_posed_is_the_same_for_a_seed_and_of_every_sign():
    posed = [hostile.pose("expression", 3, index) for index in range(200)]
    assert posed[7].columns == hostile.pose("expression", 3, 7).columns
    assert posed[7].columns != hostile.pose("expression", 4, 7).columns
    assert {(one.value > 0) - (one.value < 0) for one in posed if one.digits} == {-1, 0, 1}
    assert max(abs(one.value) for one in posed) >= 1000
    assert sum(not one.digits for one in posed) == 200 / hostile.MALFORMED


@pytest.mark.parametrize("task", FORMS)
def test_a_posed_problem_is_cut_up_rightly(task):
    for index in range(40):
        posed = hostile.pose(task, 0, index)
        assert posed.right == posed.head + posed.written == posed.form.solution(posed.columns["prompt"])
        assert posed.written == (posed.say(posed.value) if posed.digits else "ERROR")
        assert posed.columns["answer"] == str(posed.working.answer)
        assert tasks.get(task).kind(posed.form.posed(posed.columns["prompt"])) == posed.columns["kind"]


@pytest.mark.parametrize("task", FORMS)
def test_the_conventions_that_are_written_down(task):
    """007 is 7 and -0 is 0, the last answer counts, the working does not; a sum is written in one way alone."""
    problems = [hostile.pose(task, 0, index) for index in range(200)]
    for name in RIGHT:
        cases = hostile.cases("by convention", name, problems)
        free = task == "expression" or name == "wrong working, right answer"
        assert all(worth == float(free) for _, _, worth in cases) or (free, name) == (False, "no working"), name
        assert cases or task != "expression", name


@pytest.mark.parametrize("task", FORMS)
def test_a_hostile_number_has_another_value(task):
    """So says Python, not the reader that our reward uses."""
    problems = [hostile.pose(task, 0, index) for index in range(200)]
    names = ["off by one", "opposite sign", "digit before (112)", "digit behind (123)", "last digit lost"]
    for name in [*names, "digits backwards"]:
        for posed in problems:
            if text := hostile.HOSTILE[name](posed):
                written = text.removeprefix(posed.head)
                lowest_first = "reversed" in task
                sign, digits = written[: written.startswith("-")], written.lstrip("-")
                assert int(sign + (digits[::-1] if lowest_first else digits)) != posed.value, (name, posed.right)
