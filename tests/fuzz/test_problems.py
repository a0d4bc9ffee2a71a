"""Hostile problems: whatever is typed is read as what it is, by a second reading of another kind, or refused."""

import ast
import random
import re
from functools import cache

from corruption import trace
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzzed, hostile, tried, within

from arith_hf.notation import expression as notation
from arith_hf.notation.addition import Addition
from arith_hf.tasks import addition, expression
from arith_hf.tasks.grammar import MAX_DIGITS

UNSURE = "too deep for Python's own parser"
seeds = st.integers(0, 1 << 30).map(random.Random)
expressions = hostile(seeds.map(lambda rng: trace(rng).problem))
sums = hostile(seeds.map(lambda rng: addition.pose(rng, max_digits=12, max_operands=4)))


def by_python(text: str) -> int | str | None:
    """The value by Python's grammar, of which additions, subtractions and signs are allowed; None where malformed."""
    if any(not (one.isspace() or one in "0123456789+-()") for one in text):
        return None
    if any(len(run) > MAX_DIGITS for run in re.findall("[0-9]+", text)):
        return None
    line = "".join(" " if one.isspace() else one for one in text).strip()
    line = re.sub("(?<![0-9])0+(?=[0-9])", "", line)
    try:
        return value(ast.parse(line, mode="eval").body, line)
    except (RecursionError, MemoryError):
        return UNSURE
    except SyntaxError as error:
        return UNSURE if "too many nested" in str(error) else None


def value(node: ast.expr, line: str) -> int | None:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number)) as operand):
            between, before = line[node.col_offset + 1 : operand.col_offset], line[: node.col_offset].rstrip()
            return -number if not between or (between.isspace() and before[-1:] in ("", "(")) else None
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as operator, right=right):
            one, other = value(left, line), value(right, line)
            if one is None or other is None:
                return None
            return one + other if isinstance(operator, ast.Add) else one - other
    return None


@fuzzed
@example("5 --3")
@example("5 -- 3")
@example("-(3)")
@example("(- 3)")
@example("1\x1f+\u30002")
@given(expressions)
def test_an_expression_is_what_python_says_that_it_is(text: str) -> None:
    worked, refused = tried(expression.work, text)
    answer = None if refused else worked.answer
    second = by_python(text)
    if second != UNSURE and "operators to write" not in (refused or ""):
        assert answer in (None, "ERROR") if second is None else answer == second
    if answer is not None:
        assert expression.work(expression.tidy(text)).answer == answer


@fuzzed
@given(expressions)
def test_what_is_asked_poses_what_was_typed(text: str) -> None:
    prompt, refused = tried(notation.ask, text)
    if refused:
        assert re.search(r"at column \d+", refused)
        return
    assert re.fullmatch(r"Evaluate: [0-9+\-() ]*\n", prompt)
    typed = re.sub(r"(?i)^\s*evaluate\s*:", "", text)
    assert notation.posed(prompt) == expression.tidy(typed)


SUM = re.compile(rf"\s*[0-9]{{1,{MAX_DIGITS}}}(?:\s*\+\s*[0-9]{{1,{MAX_DIGITS}}})+\s*=?\s*")


@cache
def by_digits(text: str) -> int | None:
    """The sum, digit by digit; None where it is none."""
    if not SUM.fullmatch(text):
        return None
    numbers = re.findall("[0-9]+", text)
    return sum("0123456789".index(digit) * 10**place for one in numbers for place, digit in enumerate(reversed(one)))


@fuzzed
@given(sums)
def test_a_sum_is_what_its_digits_say(text: str) -> None:
    with within(1):
        answer = addition.work(text).answer
    assert answer == ("ERROR" if by_digits(text) is None else by_digits(text))


@fuzzed
@given(sums, st.sampled_from([Addition(), Addition("direct", align=1), Addition("reversed", zero_pad=3)]))
def test_a_sum_that_is_asked_is_the_one_typed(text: str, form: Addition) -> None:
    prompt, refused = tried(form.ask, text)
    if refused:
        return
    assert re.fullmatch(r"[0-9]+(?:\+[0-9]+)*(?:=|\+)", prompt)
    if prompt.endswith("="):
        assert by_digits(form.posed(prompt)) == by_digits(text) is not None


NAME = re.compile(
    r"addition/(?:direct|reversed|columns)(?:/zero_pad=[1-9][0-9]{0,3})?(?:/align=1)?(?:/think_length=[1-9][0-9]*)?"
)
names = st.sampled_from(["addition/columns", "addition/direct/align=1", "addition/columns/zero_pad=3/think_length=24"])


@fuzzed
@given(hostile(names))
def test_the_name_of_a_form_is_the_one_it_would_write(name: str) -> None:
    form, refused = tried(Addition.read, name)
    if refused:
        return
    assert NAME.fullmatch(name)
    assert form.name == name
    assert form.zero_pad <= MAX_DIGITS
    assert form.think_length <= 100_000


def test_a_working_takes_no_gigabytes() -> None:
    numbers = ["9" * MAX_DIGITS] * 4000
    _, refused = tried(expression.work, "+".join(numbers))
    assert refused
    assert "characters" in refused
