"""The addition task: posed, worked, judged."""

import dataclasses
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.tasks import addition as task
from arith_hf.tasks.addition import Column
from arith_hf.tasks.base import ERROR, OFF, Reading, Working
from arith_hf.tasks.grammar import UnknownCharacter

operands = st.lists(st.integers(0, 10**6), min_size=2, max_size=5)
problems = operands.map(task.canonical)
MALFORMED = ("", "7", "7=", "7+", "+7=", "3++4=", "3+4=7", "3+4==", "3=4+5", "=")


# Reading


@given(operands, st.booleans(), st.data())
def test_every_order_and_writing_is_one_problem(numbers, equals, data):
    untidy = " + ".join("0" * data.draw(st.integers(0, 2)) + str(number) for number in numbers) + "=" * equals
    shuffled = task.canonical(data.draw(st.permutations(numbers)))
    assert task.numbers(untidy) == tuple(numbers)
    assert task.tidy(untidy) == task.canonical(numbers) == task.tidy(task.tidy(untidy))
    assert task.normalise(untidy) == task.normalise(shuffled)


def test_normalise_tells_other_sums_apart():
    assert task.normalise("189+658=") == task.normalise("658+0189=") == "189+658"
    assert task.normalise("9+10=") == "9+10"  # by size, not by letter
    assert task.normalise("1+2+3=") != task.normalise("12+3=")


@pytest.mark.parametrize("problem", MALFORMED)
def test_what_is_no_sum_is_malformed(problem):
    assert task.numbers(problem) is None
    assert task.kind(problem) == "invalid"
    assert (task.level(problem), task.carries(problem)) == (0, 0)
    assert task.work(problem) == Working((), ERROR)
    assert task.normalise(f" {problem} ") == task.tidy(problem) == problem
    assert task.judge(problem, Reading([]), ERROR) is None
    assert task.judge(problem, Reading([]), 7).reason == "the answer is ERROR, not 7"


def test_tidy_says_what_is_wrong():
    with pytest.raises(UnknownCharacter, match=r"^unknown character 'x' at column 3: need digits, \+ and = only$"):
        task.tidy("3+x")
    with pytest.raises(UnknownCharacter, match=r"'٣' at column 1"):
        task.tidy("٣+4")
    with pytest.raises(ValueError, match="need numbers of at most 1000 digits, got 1001: write a shorter one"):
        task.tidy("1" * 1001 + "+1")


def test_level_and_carries():
    assert task.level("5+658=") == 3
    assert task.level("0+0=") == 1
    for problem, carries in {"5+3=": 0, "999+1=": 3, "55+5=": 1, "5050+5050=": 1, "9990+1110=": 3, "95+15=": 2}.items():
        assert task.carries(problem) == carries, problem


# Working


def test_the_last_total_stays_whole():
    assert task.work("99+21=") == Working((Column((9, 1), 0, 10), Column((9, 2), 1, 12)), 120)
    assert task.work("58+7=").steps == (Column((8, 7), 0, 15), Column((5, 0), 1, 6))
    assert task.work("0+0=") == Working((Column((0, 0), 0, 0),), 0)


def test_a_carry_may_have_two_digits():
    problem = "+".join(["99"] * 120) + "="
    first, second = task.work(problem).steps
    assert (first.carry, first.total, second.carry, second.total) == (0, 1080, 108, 1188)
    assert task.work(problem).answer == 11880


@given(operands)
def test_the_columns_make_the_sum(numbers):
    working = task.work(task.canonical(numbers))
    assert len(working.steps) == task.level(task.canonical(numbers)) == max(len(str(number)) for number in numbers)
    last = len(working.steps) - 1
    digits = (column.total if place == last else column.total % 10 for place, column in enumerate(working.steps))
    assert sum(digit * 10**place for place, digit in enumerate(digits)) == working.answer == sum(numbers)
    for place, number in enumerate(numbers):
        assert sum(column.digits[place] * 10**power for power, column in enumerate(working.steps)) == number


# Judging


@given(problems)
def test_a_right_working_has_no_fault(problem):
    working = task.work(problem)
    assert task.judge(problem, Reading(working.steps), working.answer) is None
    assert task.judge(problem, Reading(None), working.answer) is None


@given(problems, st.data())
def test_one_planted_fault_is_found_where_it_is(problem, data):
    steps, answer = task.work(problem).steps, task.work(problem).answer
    index = data.draw(st.integers(0, len(steps) - 1))
    column = steps[index]
    place = data.draw(st.integers(0, len(column.digits) - 1))
    digits = (*column.digits[:place], (column.digits[place] + 1) % 10, *column.digits[place + 1 :])
    for planted, reason in (
        (dataclasses.replace(column, digits=digits), "the digits are "),
        (dataclasses.replace(column, digits=column.digits[:-1]), "the digits are "),
        (dataclasses.replace(column, carry=column.carry + 1), f"the carry is {column.carry}, not "),
        (dataclasses.replace(column, total=column.total + 10), f"make {column.total}, not {column.total + 10}"),
    ):
        fault = task.judge(problem, Reading([*steps[:index], planted, *steps[index + 1 :]]), answer)
        assert fault.index == index
        assert reason in fault.reason


@given(problems, st.integers(0, 10**9))
def test_a_planted_total_is_wrong_and_its_carry_is_taken_on(problem, seed):
    due, planted = task.work(problem), task.plant(problem, random.Random(seed))
    if planted is None:
        assert len(due.steps) < 2
        return
    working, index = planted
    assert working.steps[:index] == due.steps[:index]
    assert 0 <= index < len(due.steps) - 1 == len(working.steps) - 1
    wrong = working.steps[index].total - due.steps[index].total
    assert (abs(wrong) in OFF, working.answer - due.answer) == (True, wrong * 10**index)
    valid = task.valid_steps(problem, working.steps)
    assert [place for place, one in enumerate(valid) if not one] == [index]
    fault = task.judge(problem, Reading(working.steps), working.answer)
    assert (fault.index, fault.kind) == (index, "digit")


@given(problems)
def test_a_wrong_answer_and_wrong_lengths_are_faults(problem):
    steps, answer = task.work(problem).steps, task.work(problem).answer
    for wrong in (answer + 1, str(answer), ERROR, None):
        assert task.judge(problem, Reading(steps), wrong).index == len(steps)
        assert task.judge(problem, Reading(None), wrong).index == 0
    assert task.judge(problem, Reading(steps[:-1]), answer).index == len(steps) - 1
    assert task.judge(problem, Reading([]), answer).reason == f"need {len(steps)} columns, got 0"
    assert task.judge(problem, Reading([*steps, steps[-1]]), answer).index == len(steps)


# Posing


def drawn(name, count=3000, **knobs):
    return [task.pose(random.Random(f"{name}/{index}"), **knobs) for index in range(count)]


@given(st.integers(0, 10**9), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_a_pose_keeps_its_knobs(seed, digits, more, operands, equal):
    knobs = {"min_digits": digits, "max_digits": digits + more, "max_operands": 2 + operands, "equal": equal}
    problem = task.pose(random.Random(seed), **knobs, carry_rate=0.3)
    assert problem == task.tidy(problem) == task.pose(random.Random(seed), **knobs, carry_rate=0.3)
    numbers = task.numbers(problem)
    assert 2 <= len(numbers) <= 2 + operands
    assert digits <= task.level(problem) <= digits + more
    assert not equal or len({len(str(number)) for number in numbers}) == 1


def test_lengths_are_drawn_evenly():
    problems = drawn("lengths", min_digits=2, max_digits=4)
    levels = Counter(map(task.level, problems))
    assert set(levels) == {2, 3, 4}
    assert all(count == pytest.approx(1000, abs=100) for count in levels.values())
    lengths = Counter(tuple(map(len, map(str, task.numbers(text)))) for text in drawn("others", max_digits=3))
    assert lengths[1, 1] / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert lengths[3, 3] / 3000 == pytest.approx(1 / 3 * (1 / 2 + 1 / 6), abs=0.03)
    for one, other in ((1, 3), (2, 3), (1, 2)):
        assert lengths[one, other] == pytest.approx(lengths[other, one], abs=50)  # either may be the longest
    assert lengths[1, 3] + lengths[3, 1] == pytest.approx(3000 / 18, abs=50)


def test_numbers_of_a_length_are_drawn_evenly():
    numbers = Counter(number for text in drawn("digits", max_digits=1) for number in task.numbers(text))
    assert set(numbers) == set(range(10))
    assert all(count == pytest.approx(600, abs=100) for count in numbers.values())
    first = Counter(text[0] for text in drawn("first", min_digits=2, max_digits=2, equal=True))
    assert set(first) == set("123456789")
    assert all(count == pytest.approx(333, abs=75) for count in first.values())


def test_the_number_of_operands_is_drawn_evenly():
    counts = Counter(text.count("+") + 1 for text in drawn("operands", min_operands=3, max_operands=5, carry_rate=1.0))
    assert set(counts) == {3, 4, 5}
    assert all(count == pytest.approx(1000, abs=100) for count in counts.values())


@given(st.integers(0, 10**9), st.integers(1, 12))
def test_a_cascade_runs_through_columns_that_only_pass_it_on(seed, digits):
    problem = task.pose(random.Random(seed), min_digits=digits, max_digits=digits, carry_rate=1.0)
    assert [len(str(number)) for number in task.numbers(problem)] == [digits] * 2
    assert task.carries(problem) >= 1


def test_cascades_have_any_length_and_place():
    problems = drawn("cascades", min_digits=5, max_digits=5, carry_rate=1.0)
    assert {task.carries(problem) for problem in problems} == {1, 2, 3, 4, 5}
    passed = Counter(
        place
        for problem in problems
        for place, column in enumerate(task.work(problem).steps)
        if sum(column.digits) == 9 and column.carry
    )
    assert set(passed) == {1, 2, 3, 4}
    assert sum(passed.values()) > 1.5 * len(problems)
    plain = drawn("cascades", min_digits=5, max_digits=5)
    assert sum(map(task.carries, problems)) > 1.5 * sum(map(task.carries, plain))


def test_the_share_of_cascades_is_the_carry_rate():
    problems = drawn("share", min_digits=8, max_digits=8, carry_rate=0.25)
    long = sum(task.carries(problem) >= 5 for problem in problems)
    always = sum(task.carries(problem) >= 5 for problem in drawn("share", min_digits=8, max_digits=8, carry_rate=1.0))
    never = sum(task.carries(problem) >= 5 for problem in drawn("share", min_digits=8, max_digits=8))
    assert long == pytest.approx(0.25 * always + 0.75 * never, abs=120)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"min_digits": 3, "max_digits": 2}, "need 1 <= min_digits <= max_digits <= 1000, got 3 and 2"),
        ({"min_digits": 0}, "got 0 and 3"),
        ({"min_operands": 1}, "need 2 <= min_operands <= max_operands, got 1 and 2"),
        ({"min_operands": 3}, "got 3 and 2"),
        ({"carry_rate": 1.5}, "need carry_rate and run_rate of at least 0, at most 1 in all, got"),
    ],
)
def test_knobs_that_cannot_be_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        task.pose(random.Random(0), **knobs)


def test_the_harder_sets():
    for length in (4, 6, 15, 20, 30, 50, 100, 200):
        what, knobs = task.HARDER[f"digits{length}"]
        assert str(length) in what
        assert [len(str(number)) for number in task.numbers(task.pose(random.Random(0), **knobs))] == [length] * 2
    cascades = [task.pose(random.Random(seed), **task.HARDER["cascades"][1]) for seed in range(50)]
    assert all(task.carries(problem) >= 1 and task.level(problem) in (2, 3) for problem in cascades)
    assert {task.pose(random.Random(seed), **task.HARDER["operands"][1]).count("+") for seed in range(50)} == {2, 3, 4}


def test_runs_repeat_the_column_below_and_reach_the_top():
    drawn = [
        task.pose(random.Random(f"runs/{index}"), min_digits=2, max_digits=8, run_rate=1.0) for index in range(2000)
    ]
    pairs = [[column.digits for column in task.columns(task.numbers(problem))] for problem in drawn]
    repeats = [one == other for columns in pairs for one, other in pairwise(columns)]
    assert sum(repeats) / len(repeats) > 0.6
    assert sum(columns[-1] == columns[-2] == (9, 9) for columns in pairs) > 10, "nines at the top, which carry twice"
    assert {len(columns) for columns in pairs} <= set(range(2, 9))


def test_a_space_between_digits_is_no_sum():
    assert task.numbers("12 34 + 5") is None
    with pytest.raises(ValueError, match="need \\+ between numbers, got '2 3' at column 2"):
        task.tidy("12 34 + 5")
