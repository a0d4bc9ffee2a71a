"""The expression task: posed, worked, judged."""

import dataclasses
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arith_hf import tasks
from arith_hf.tasks import expression as task
from arith_hf.tasks import shapes
from arith_hf.tasks.base import ERROR, OFF, Reading, Step, Working

seeds = st.integers(0, 10**9).map(random.Random)
knobs = st.fixed_dictionaries({"sampler": st.sampled_from(task.SAMPLERS), "typed": st.booleans()})


def test_tasks_are_found_by_name():
    assert tasks.get("expression") is task
    with pytest.raises(ValueError, match=r"unknown task 'expresion': need one of expression"):
        tasks.get("expresion")


# Working


def test_steps_in_post_order_with_the_parentheses_that_remain():
    assert task.work("5 + (10 - 3)") == Working((Step(10, "-", 3, 7, "5 + 7"), Step(5, "+", 7, 12, "12")), 12)
    assert [step.expression for step in task.work("(1 - 4) + ((2 + 3) - (4 + 5))").steps] == [
        "-3 + ((2 + 3) - (4 + 5))",
        "-3 + (5 - (4 + 5))",
        "-3 + (5 - 9)",
        "-3 + -4",
        "-7",
    ]


def test_a_bare_number_has_no_steps():
    assert task.work("((4))") == task.work("4") == Working((), 4)


@given(seeds, knobs)
def test_work_agrees_with_python(rng, knobs):
    expression = task.pose(rng, num_range=(-50, 50), **knobs)
    # Python reads a chain from the left too; a zero in front is the one thing it refuses, and tidy removes it.
    assert task.work(expression).answer == eval(expression)


@given(seeds, knobs)
def test_every_remaining_expression_is_read_back(rng, knobs):
    expression = task.pose(rng, **knobs)
    working = task.work(expression)
    for index, step in enumerate(working.steps):
        assert task.work(step.expression) == Working(working.steps[index + 1 :], working.answer)
        assert task.normalise(step.expression) == step.expression
        assert re.fullmatch(r".*?\((-?\d+ [+-] -?\d+)\).*|(-?\d+ [+-] -?\d+)|-?\d+", step.expression)


@given(seeds, knobs)
def test_level_counts_the_longest_path(rng, knobs):
    def depth(tree):
        return 0 if isinstance(tree, int) else 1 + max(depth(tree[0]), depth(tree[2]))

    expression = task.pose(rng, **knobs)
    assert task.level(expression) == depth(task.parse(expression)) <= len(task.work(expression).steps)


def test_a_working_too_long_to_write_is_refused():
    many = task.MAX_OPERATORS
    assert len(task.work("1" + "+1" * 300).steps) == 300
    with pytest.raises(ValueError, match=f"at most {many} operators to write a working, got {many + 1}"):
        task.work("1" + "+1" * (many + 1))


# Posing


def test_the_seed_sampler_stops_at_any_node_with_probability_three_tenths():
    rng = random.Random("seed sampler")
    levels = Counter(task.level(task.pose(rng, sampler="seed", min_depth=0)) for _ in range(4000))
    assert set(levels) == {0, 1, 2, 3, 4}
    assert levels[0] / 4000 == pytest.approx(0.3, abs=0.03)
    assert levels[1] / 4000 == pytest.approx(0.7 * 0.09, abs=0.02)
    assert levels[4] > levels[1] + levels[2] + levels[3]


def test_the_stratified_sampler_draws_depths_evenly():
    rng = random.Random("stratified sampler")
    levels = Counter(task.level(task.pose(rng, min_depth=2, max_depth=5)) for _ in range(4000))
    assert set(levels) == {2, 3, 4, 5}
    assert all(count == pytest.approx(1000, abs=120) for count in levels.values())


@given(seeds, st.integers(0, 4), st.sampled_from(task.SAMPLERS))
def test_min_depth_and_num_range_hold(rng, least, sampler):
    expression = task.pose(rng, sampler=sampler, min_depth=least, max_depth=4, num_range=(3, 8))
    assert least <= task.level(expression) <= 4
    assert set(re.findall(r"\d+", expression)) <= set("345678")
    assert task.normalise(expression) == expression == task.tidy(expression)


@given(seeds, st.sampled_from(task.SAMPLERS), st.integers(1, 4))
def test_invalid_is_malformed_and_valid_is_not(rng, sampler, depth):
    malformed = task.pose(rng, sampler=sampler, max_depth=depth, invalid=True)
    assert (task.kind(malformed), task.work(malformed)) == ("invalid", Working((), ERROR))
    assert task.tidy(malformed) == malformed
    assert task.kind(task.pose(rng, sampler=sampler, max_depth=depth, num_range=(-9, 9))) == "valid"


def test_every_corruption_occurs_and_a_lucky_one_is_drawn_again():
    rng = random.Random("corruptions")
    posed = [task.pose(rng, max_depth=2, num_range=(1, 9), invalid=True) for _ in range(3000)]
    looks = {
        "right operand": r"[+-]\)|[+-]$",
        "left operand": r"^\+ |\(\+ ",
        "++": r"\+\+",
        "--": r"-- ",
        "soup": r"\d \d|\( ?\)",
    }
    for name, look in looks.items():
        assert any(re.search(look, text) for text in posed), name
    assert any(text.count("(") == text.count(")") + 1 for text in posed)
    assert any(text.count(")") == text.count("(") + 1 for text in posed)
    assert "5 -- 3" in posed or any(re.fullmatch(r"\d -- \d", text) for text in posed)
    shapes = [task.fill(task.shape(random.Random(n), invalid=True), rng) for n in range(3000)]
    lucky = [text for text in shapes if task.kind(text) == "valid"]
    assert 0 < len(lucky) < 300  # the label cannot be assumed


def test_typed_forms_hold_what_people_type():
    rng = random.Random("typed")
    posed = [task.pose(rng, typed=True) for _ in range(2000)]
    for look in (
        r"\d+( [+-] \d+){2,7}",  # a chain
        r"-\d+ [+-] \d+",  # a sign in front
        r"\d+ - \(-\d+\)",
        r"\d+ - -\d+",
        r"\(\(\d+\)\)",
        r"\(\d+ [+-] \d+\)",
        r"\(\d+ [+-] \d+\) [+-] \d+ [+-] \(\d+ [+-] \d+\)",  # sums of groups, as people write them
        r"\([^()]+\)( [+-] \([^()]+\)){2}",
        r"-?\d+",
    ):
        assert any(re.fullmatch(look, text) for text in posed), look
    flat = [text for text in posed if "(" not in text]
    assert max(text.count(" + ") + text.count(" - ") for text in flat) == 7
    assert max(task.level(text) for text in posed if text not in flat) <= 4
    assert max(shapes.nesting(text) for text in posed) == 3  # of deeper ones no parenthesis is ever left out


def test_padded_problems_are_nested_deeper_than_deep():
    rng = random.Random("padded")
    drawn = [task.fill(task.shape(rng, form="padded"), rng) for _ in range(300)]
    assert all(task.kind(text) == "valid" and task.level(text) <= 4 for text in drawn)
    assert any("((((((" in text for text in drawn)
    assert sum(text != task.normalise(text) for text in drawn) > 200
    assert all(task.tidy(text) == text for text in drawn)


@given(seeds)
def test_padded_problems_can_be_malformed_too(rng):
    assert task.kind(task.pose(rng, invalid=True, typed=True)) == "invalid"


@given(seeds, st.booleans())
def test_nesting_does_not_tell_what_lacks_a_parenthesis(rng, unbalanced):
    broken = task.shape(rng, invalid=True, unbalanced=unbalanced, depth_weights=(0, 0, 1, 1))
    assert shapes.nesting(broken) <= 3  # as many as a good one has
    if unbalanced:
        assert 1 <= abs(broken.count("(") - broken.count(")")) <= max(shapes.LOST)


def test_the_same_generator_poses_the_same_problem():
    assert [task.pose(random.Random("a/1")) for _ in range(2)] == [task.pose(random.Random("a/1"))] * 2


# Judging


@given(seeds, st.booleans())
def test_a_right_working_has_no_fault(rng, invalid):
    expression = task.pose(rng, invalid=invalid)
    working = task.work(expression)
    assert task.judge(expression, Reading(working.steps), working.answer) is None


@given(seeds, st.data())
def test_one_planted_fault_is_found_where_it_is(rng, data):
    expression = task.pose(rng)
    working = task.work(expression)
    index = data.draw(st.integers(0, len(working.steps) - 1))
    step = working.steps[index]
    planted = data.draw(
        st.sampled_from(
            [
                dataclasses.replace(step, left=step.left + 1),
                dataclasses.replace(step, right=-step.right - 1),
                dataclasses.replace(step, operator="+" if step.operator == "-" else "-"),
                dataclasses.replace(step, result=step.result + 10),
                dataclasses.replace(step, expression=step.expression + " + 1"),
                dataclasses.replace(step, expression=step.expression[:-1]),
            ]
        )
    )
    steps = [*working.steps[:index], planted, *working.steps[index + 1 :]]
    fault = task.judge(expression, Reading(steps), working.answer)
    assert fault is not None
    assert fault.index == index


@given(seeds, st.integers(0, 10**9))
def test_a_planted_result_is_wrong_and_all_else_follows_from_it(rng, seed):
    expression = task.pose(rng)
    due, planted = task.work(expression), task.plant(expression, random.Random(seed))
    if planted is None:
        assert len(due.steps) < 2
        return
    working, index = planted
    assert working.steps[:index] == due.steps[:index]
    assert 0 <= index < len(due.steps) - 1 == len(working.steps) - 1
    assert abs(working.steps[index].result - due.steps[index].result) == abs(working.answer - due.answer) in OFF
    valid = task.valid_steps(expression, working.steps)
    assert [place for place, one in enumerate(valid) if not one] == [index]
    fault = task.judge(expression, Reading(working.steps), working.answer)
    assert (fault.index, fault.kind) == (index, "digit")
    assert task.plant(expression, random.Random(seed)) == planted


def test_results_are_planted_in_every_step_but_the_last():
    places = Counter(task.plant("1 + 2 + 3 + 4", random.Random(seed))[1] for seed in range(300))
    assert set(places) == {0, 1}
    assert min(places.values()) > 100


@given(seeds)
def test_a_wrong_answer_and_wrong_lengths_are_faults(rng):
    expression = task.pose(rng)
    steps, answer = task.work(expression).steps, task.work(expression).answer
    for wrong in (answer + 1, str(answer), ERROR, None):
        assert task.judge(expression, Reading(steps), wrong).index == len(steps)
    assert task.judge(expression, Reading(steps[:-1]), answer).index == len(steps) - 1
    assert task.judge(expression, Reading([*steps, steps[-1]]), answer).index == len(steps)
    assert task.judge("5 +", Reading([]), 5).reason == "the answer is ERROR, not 5"


def test_chains_are_flat_and_of_3_to_8_numbers():
    drawn = [task.shape(random.Random(f"chain/{index}"), form="chains") for index in range(300)]
    assert not any("(" in shape for shape in drawn)
    assert {shape.count("#") for shape in drawn} == {3, 4, 5, 6, 7, 8}


def test_half_of_the_numbers_are_negative_and_one_at_least():
    drawn = [task.shape(random.Random(f"negative/{index}"), form="negatives", max_depth=3) for index in range(300)]
    assert all("~" in shape and " " in shape for shape in drawn)
    assert max(task.level(task.fill(shape, random.Random(0))) for shape in drawn) == 3
    signs = "".join(drawn)
    assert signs.count("~") / (signs.count("~") + signs.count("#")) == pytest.approx(0.53, abs=0.05)
    assert all(task.kind(task.fill(shape, random.Random(0))) == "valid" for shape in drawn)


@given(st.randoms(use_true_random=False))
def test_nothing_in_front_of_a_tree_is_due_before_it(rng):
    before, behind = task.surroundings(rng)
    assert task.kind(before + "(1 + 2)" + behind) == "invalid"
    assert not re.search(r"\(-?\d+\)", f"{before}3{behind}"), "a parenthesis that no working has"
    first = task.work(before + "(1 + 2)" + ")" * before.count("(")).steps[0]
    assert (first.left, first.operator, first.right) == (1, "+", 2)


def test_a_line_lacks_a_parenthesis_or_an_operand():
    drawn = ["(1 + 2)".join(task.surroundings(random.Random(f"around/{index}"))) for index in range(400)]
    even = [line for line in drawn if line.count("(") == line.count(")")]
    assert len(even) / len(drawn) == pytest.approx(0.3, abs=0.15)
    assert all(re.search(r"[+-](\)|$| [+-] )", line) for line in even)


def test_operators_are_split_evenly_whatever_the_depth():
    drawn = [task.shape(random.Random(f"operators/{index}"), form="operators") for index in range(600)]
    assert {len(task.work(task.fill(shape, random.Random(0))).steps) for shape in drawn} == {9, 10, 11}
    lefts = [len(shapes.spread(random.Random(f"split/{index}"), 3)) for index in range(3)]
    assert lefts == [len("(# + (# + (# + #)))")] * 3, "three operators, however they are split"
    assert {task.level(task.fill(shape, random.Random(0))) for shape in drawn} >= {4, 5, 6, 7, 8}


def test_exact_depth_is_the_seed_sampler_conditioned():
    for depth in (5, 6, 8):
        for index in range(20):
            knobs = task.HARDER[f"depth{depth}"][1]
            assert task.level(task.pose(random.Random(f"exact/{depth}/{index}"), **knobs)) == depth
