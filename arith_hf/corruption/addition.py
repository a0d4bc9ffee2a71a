"""Workings of a sum, column by column, with one fault planted, of every kind that the judge of columns names.

May not know where the problem comes from.
"""

import random
from dataclasses import replace

from arith_hf.corruption.planted import HALF, Planted, other_digit
from arith_hf.notation.addition import Addition
from arith_hf.tasks import addition
from arith_hf.tasks.addition import Column
from arith_hf.tasks.base import Working

STEPS = ("digit", "operand", "carry", "dropped", "repeated")  # a column is wrong, missing or there again
KINDS = (*STEPS, "surplus", "stop", "wording", "none", "answer")
PLAIN = Addition()


def spoil(rng: random.Random, problem: str, kind: str, form: Addition = PLAIN, goes_on: float = HALF) -> Planted | None:
    """The working of a problem with a fault of this kind at a column drawn evenly; None where it cannot be planted."""
    working = addition.work(problem)
    columns, result, last = list(working.steps), working.answer, len(working.steps)
    index, follows = rng.randrange(last), rng.random() < goes_on
    column = columns[index]
    if kind == "digit":
        columns[index:] = behind(columns, index, follows, replace(column, total=other_digit(rng, column.total)))
    elif kind == "carry":
        carry = 0 if column.carry and rng.random() < 0.5 else column.carry + 1
        total = sum(column.digits) + carry
        columns[index:] = behind(columns, index, follows, Column(column.digits, carry, total))
    elif kind == "operand":
        place = rng.randrange(len(column.digits))
        others = {int(character) for character in problem if character.isdigit()} - {column.digits[place]}
        if not others:
            return None
        digits = (*column.digits[:place], rng.choice(sorted(others)), *column.digits[place + 1 :])
        columns[index:] = behind(columns, index, follows, Column(digits, column.carry, sum(digits) + column.carry))
    elif kind == "dropped":
        while columns[index + 1 : index + 2] == [column]:  # the text is the same, whichever of them is left out
            index += 1
        if index + 1 == last:
            return None
        del columns[index]
    elif kind == "repeated":
        while columns[index + 1 : index + 2] == [column]:
            index += 1
        columns.insert(index := index + 1, column)
    elif kind == "surplus":
        if columns[-1] == addition.above(columns[-1]):
            return None  # it would be the last column again
        columns.append(addition.above(columns[-1]))
        index = last
    elif kind == "stop":
        columns = columns[:index]
    if follows and kind in ("digit", "carry", "operand"):
        result = read_off(columns)
    text = form.completion(Working(tuple(columns), result))
    if kind == "wording":
        place = rng.choice([place for place, character in enumerate(text) if character in "+=<>/"])
        index = last if "<" in text[1:place] else text[:place].count(" ")
        text = text[:place] + text[place + 1 :]
    elif kind == "none":
        text, index = text.removesuffix(str(result)), last
    elif kind == "answer":
        text, index = text.removesuffix(str(result)) + str(other_digit(rng, int(result))), last
    return Planted(problem, text, index, kind)


def behind(columns: list[Column], index: int, follows: bool, planted: Column) -> list[Column]:
    """The planted column, and behind it columns that take its carry on, or those that were there."""
    found, carry = [planted], planted.total // 10
    for column in columns[index + 1 :]:
        total = sum(column.digits) + carry
        found.append(Column(column.digits, carry, total) if follows else column)
        carry = total // 10
    return found


def read_off(columns: list[Column]) -> int:
    """What columns come to, right or wrong: the last digit of each total, and all of the last."""
    *low, top = columns
    return sum(column.total % 10 * 10**place for place, column in enumerate(low)) + top.total * 10 ** len(low)
