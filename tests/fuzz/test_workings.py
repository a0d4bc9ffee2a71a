"""Hostile completions: an answer, a step or a right working is taken from a text only where a second reading agrees."""

import random
import re
from typing import Any

import pytest
from corruption import trace, written
from hypothesis import given
from hypothesis import strategies as st
from mutations import changes, fuzzed, hostile, spoilt, within

from arith_hf.notation import expression as notation
from arith_hf.notation.addition import NOOP, Addition
from arith_hf.tasks import addition, expression

SUMS = (
    Addition(),
    Addition("direct"),
    Addition("reversed"),
    Addition("columns", zero_pad=4, think_length=60),
    Addition("direct", zero_pad=3),
)


def task_and_text(rng: random.Random) -> tuple[str, str]:
    """A problem and its right completion."""
    one = trace(rng)
    return (one.problem, written(one.steps, one.answer)) if one.steps else malformed(rng)


def malformed(rng: random.Random) -> tuple[str, str]:
    problem = expression.pose(rng, invalid=True)
    return problem, notation.completion(expression.work(problem))


def sum_and_text(rng: random.Random, form: Addition) -> tuple[str, str]:
    problem = addition.pose(rng, max_digits=3, max_operands=3)
    return problem, form.completion(addition.work(problem))


seeds = st.integers(0, 1 << 30).map(random.Random)
worked = seeds.map(task_and_text) | seeds.map(malformed)
summed = st.sampled_from(SUMS).flatmap(
    lambda form: st.tuples(st.just(form), seeds.map(lambda rng: sum_and_text(rng, form)))
)

# Answers

ANSWER = re.compile(r"(?s)(?:(?!</think>).)*</think>.*Final Result:[ \n]*(-?[0-9]{1,2000}|ERROR)[ \n]*")


@fuzzed
@given(hostile(worked.map(lambda one: one[1])))
def test_an_answer_to_an_expression(text: str) -> None:
    with within(1):
        answer = notation.read_answer(text)
    match = ANSWER.fullmatch(text)
    assert str(answer) == (
        re.sub(r"^(-?)0+(?=[0-9])", r"\1", match[1]).replace("-0", "0", match[1].strip("-0") == "") if match else "None"
    )


@fuzzed
@given(worked)
def test_what_is_written_is_taken(one: tuple[str, str]) -> None:
    problem, text = one
    answer = expression.work(problem).answer
    assert notation.read_answer(text) == answer
    assert expression.judge(problem, notation.read_working(text), answer) is None


def digits_of(form: Addition, text: str) -> str | None:
    """The digits of the answer, highest first."""
    if form.style == "columns":
        whole = re.fullmatch(r"(?s)<think>(?:(?!</?think>).)*</think>([0-9]{1,2000})", text)
        return whole[1] if whole else None
    match = re.fullmatch("[0-9]{1,2000}", text)
    return ("".join(reversed(match[0])) if form.style == "reversed" else match[0]) if match else None


@fuzzed
@given(summed, changes)
def test_an_answer_to_a_sum(one: tuple[Addition, tuple[str, str]], how: Any) -> None:
    form, text = one[0], spoilt(one[1][1], how)
    with within(1):
        answer = form.read_answer(text)
    digits = digits_of(form, text)
    if digits is None or len(digits) != max(form.zero_pad + 1, len(digits.lstrip("0"))):
        assert answer is None
    else:
        assert str(answer) == (digits.lstrip("0") or "0")


# Workings


def as_strict(problem: str) -> str:
    """A pattern of all that may be called a right working: the one that is written, numbers with spare zeros."""
    text = notation.completion(expression.work(problem))
    lines = [
        re.sub(r"-?[0-9]+", spare, line) if line.startswith(("Step", "Final Result")) else re.escape(line)
        for line in text.replace("\n<think>", "<think>").split("\n")
    ]
    steps = [re.sub(r" (?=[+=])| (?=- )", " ", line).replace(" + ", r" \+ ") for line in lines]
    return "\n".join(steps).replace("Final Result: ", r"Final Result:[ \n]*") + r"[ \n]*"


def spare(number: re.Match[str]) -> str:
    digits = number[0].lstrip("-")
    return "-?0+" if digits == "0" else number[0].replace(digits, f"0*{digits}")


EMPTY = "<think>\n</think>\nFinal Result:[ \n]*ERROR[ \n]*"  # nothing was to be worked, and the answer is right


@fuzzed
@given(worked, changes)
def test_a_working_called_right_is_right(one: tuple[str, str], how: Any) -> None:
    problem, text = one[0], spoilt(one[1], how)
    with within(1):
        reading, answer = notation.read_working(text), notation.read_answer(text)
        pieces = notation.pieces(text)
        fault = expression.judge(problem, reading, answer)
    assert len(pieces[1]) == len(reading.steps or ())
    assert pieces[0] + "".join(pieces[1]) + pieces[2] == text
    if fault is None:
        empty = answer == "ERROR" and re.fullmatch(EMPTY, text)
        assert empty or re.fullmatch(as_strict(problem), text), (as_strict(problem), text)


@fuzzed
@given(summed, changes)
def test_columns_called_right_are_right(one: tuple[Addition, tuple[str, str]], how: Any) -> None:
    (form, (problem, right)), written = one, spoilt(one[1][1], how)
    with within(1):
        fault = addition.judge(problem, form.read_working(written), form.read_answer(written))
        pieces = form.pieces(written)
    assert pieces[0] + "".join(pieces[1]) + pieces[2] == written
    if fault is None:
        assert written.replace(NOOP, "").replace(" </think>", "</think>") == right.replace(NOOP, "")


# Going on


@fuzzed
@given(worked, changes)
def test_going_on_keeps_what_was_written(one: tuple[str, str], how: Any) -> None:
    text = spoilt(notation.prompt(notation.problem(one[0])) + one[1], how)
    with within(1):
        assert notation.resumed(text).startswith(text)
        assert isinstance(notation.posed(text), str)


@fuzzed
@given(summed, changes)
def test_going_on_with_a_sum_keeps_what_was_written(one: tuple[Addition, tuple[str, str]], how: Any) -> None:
    form, (problem, right) = one
    text = spoilt(form.prompt(problem) + right, how)
    with within(1):
        assert form.resumed(text).startswith(text)
        assert isinstance(form.posed(text), str)


MANY = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "<think>\n</think>\nFinal Result:" + " " * MANY + "x",
        "<think>Evaluation ERROR</think>\nFinal Result:" + "\n" * MANY + "x",
        "<think>" + "\nStep 1: 1 + 2 = 3\nExpression now: 3" * (MANY // 100) + "x",
        "<think>" + "1+" * MANY,
        "<think>\nStep 1: " + "9" * MANY,
        "Evaluate: " + "(" * MANY + "1" + ")" * MANY + "\n<think>\n",
        "Evaluate: " + "(1 + " * MANY + "1" + ")" * MANY + "\n<think>\nStep 1",
        "Evaluate: ((1 + 2) - (\n<think>\nStep 1: 1 + 2 = 3\nExpression now: " + "9" * MANY,
        "Evaluate: (" + "1 + " * 1000 + "1\n<think>\n",
        "1+2=<think>" + "1+" * MANY,
        "1+2=" + "9" * MANY,
        "</think>" * MANY,
        "Final Result: " * MANY,
        "</think>" + "Final Result: " * MANY,
        "<think>" * MANY,
    ],
    ids=lambda text: text[:40],
)
def test_no_text_takes_long(text: str) -> None:
    for form in (notation, *SUMS[:3]):
        for read in (
            form.read_answer,
            form.read_working,
            form.read_steps,
            form.pieces,
            form.posed,
            form.shown,
            form.resumed,
        ):
            with within(1):
                read(text)
