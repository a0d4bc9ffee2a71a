"""Workings with one fault planted: the text that a model might have written, the step at which it goes wrong, the kind.

Behind the fault the working either goes on from what was written, or stays as it was. A function returns None where its
fault cannot be planted in the working that was drawn.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from arith_hf.notation import expression as notation
from arith_hf.notation.addition import Addition
from arith_hf.tasks import addition, expression
from arith_hf.tasks.addition import Column
from arith_hf.tasks.base import ERROR, Answer, Step, Working
from arith_hf.tasks.grammar import calculate


@dataclass(frozen=True)
class Planted:
    """A text with a fault; `task` and `problem` are what was asked."""

    problem: str
    text: str
    index: int
    kind: str


def other_digit(rng: random.Random, number: int) -> int:
    """The number with one of its digits changed."""
    text = str(number)
    place = rng.choice([index for index, character in enumerate(text) if character.isdigit()])
    changed = int(text[:place] + rng.choice("0123456789") + text[place + 1 :])
    return changed if changed != number else other_digit(rng, number)


def misspelt(rng: random.Random, word: str) -> str:
    """The word without one of its letters, or with two of them exchanged."""
    place = rng.randrange(len(word) - 1)
    if rng.random() < 0.5 and word[place] != word[place + 1]:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + word[place + 1 :]


# Expressions

WORDS = re.compile("Step|Expression now|Final Result|<think>|</think>|Evaluation ERROR")


@dataclass(frozen=True)
class Trace:
    """A right working of an expression, and the step that shall be spoilt."""

    rng: random.Random
    problem: str
    steps: tuple[Step, ...]
    answer: Answer
    index: int

    @property
    def line(self) -> str:
        """What the step rewrites, as a working writes it."""
        return expression.normalise(self.steps[self.index - 1].expression if self.index else self.problem)

    def planted(self, text: str, kind: str, index: int | None = None) -> Planted:
        return Planted(self.problem, text, self.index if index is None else index, kind)

    def spoilt(self, step: Step, kind: str) -> Planted:
        """With this step, and behind it what follows from it or what was there."""
        steps, answer = self.steps[self.index + 1 :], self.answer
        if self.rng.random() < 0.5 and (then := expression.work(step.expression)).answer != ERROR:
            steps, answer = then.steps, then.answer
        return self.planted(written((*self.steps[: self.index], step, *steps), answer), kind)


def written(steps: Sequence[Step], answer: Answer, numbers: Sequence[int] = ()) -> str:
    text = notation.completion(Working(tuple(steps), answer))
    left = iter(numbers)
    return re.sub(r"\nStep \d+: ", lambda _: f"\nStep {next(left)}: ", text) if numbers else text


def trace(rng: random.Random) -> Trace:
    """Of a problem of any kind that there is."""
    knobs = rng.choice(
        [
            *({"sampler": sampler, "typed": typed} for sampler in expression.SAMPLERS for typed in (False, True)),
            *({"form": form} for form in ("chains", "negatives", "groups", "operators")),
        ]
    )
    problem = expression.pose(rng, num_range=rng.choice([(1, 20), (1, 99), (1, 9)]), **knobs)
    working = expression.work(problem)
    return Trace(rng, problem, working.steps, working.answer, rng.randrange(max(1, len(working.steps))))


def done(line: str, match: re.Match[str], result: int) -> str:
    """The line with what was matched replaced by a result."""
    return expression.normalise(f"{line[: match.start()]}{result}{line[match.end() :]}")


def numbers_of(line: str) -> list[int]:
    return [int(word) for word in re.sub("[()]", " ", line).split() if word[-1].isdigit()]


def digit(one: Trace) -> Planted:
    step = one.steps[one.index]
    wrong = other_digit(one.rng, step.result)
    remains = done(*due(one), wrong) if one.rng.random() < 0.5 else step.expression
    return one.spoilt(replace(step, result=wrong, expression=remains), "digit")


def due(one: Trace) -> tuple[str, re.Match[str]]:
    """The line with all its parentheses, and the operation that is due in it."""
    line = expression.bracketed_line(one.line)
    match = expression.OPERATION.search(line)
    assert match
    return line, match


def operand(one: Trace) -> Planted | None:
    step = one.steps[one.index]
    side = one.rng.choice(["left", "right"])
    others = sorted({number for number in numbers_of(one.line) if number != getattr(step, side)})
    if not others:
        return None
    step = replace(step, **{side: one.rng.choice(others)})
    way = one.rng.choice(["operand alone", "with its result", "and what remains"])
    if way != "operand alone":
        step = replace(step, result=calculate(step.left, step.operator, step.right))
    if way == "and what remains":
        step = replace(step, expression=done(*due(one), step.result))
    return one.spoilt(step, "operand")


def order(one: Trace) -> Planted | None:
    """Another operation than the one due: one of two numbers, or one whose operands only stand side by side."""
    line, first = due(one)
    others = [match for match in expression.OPERATION.finditer(line) if match.start() != first.start()]
    if one.rng.random() < 0.5:
        line = re.sub("[()]", "", line)
        pairs = re.finditer(r"(?<!\S)(?=(-?\d+) ([+-]) (-?\d+))", line)
        flat = [match for match in pairs if match.groups() != first.groups()]
        if not flat:
            return None
        match = one.rng.choice(flat)
        left, operator, right = match.groups()
        result = calculate(int(left), operator, int(right))
        end = match.start() + len(f"{left} {operator} {right}")
        remains = expression.normalise(f"{line[: match.start()]}{result}{line[end:]}")
    elif others:
        match = one.rng.choice(others)
        left, operator, right = match.groups()
        result = calculate(int(left), operator, int(right))
        remains = done(line, match, result)
    else:
        return None
    return one.spoilt(Step(int(left), operator, int(right), result, remains), "order")


def copy(one: Trace) -> Planted:
    """One token of what remains changed, lost, or doubled."""
    step = one.steps[one.index]
    tokens = re.findall(r"(?:(?<=\()|(?<!\S))-?\d+|[()+-]| ", step.expression)
    assert "".join(tokens) == step.expression
    place = one.rng.choice([index for index, token in enumerate(tokens) if token != " "])
    token = tokens[place]
    ways = ["", token * 2] if token in "()+-" else ["", str(other_digit(one.rng, int(token)))]
    ways += {"+": ["-"], "-": ["+"]}.get(token, [])
    tokens[place] = one.rng.choice(ways)
    return one.spoilt(replace(step, expression="".join(tokens)), "copy")


def dropped(one: Trace) -> Planted | None:
    if one.index + 1 == len(one.steps):
        return None
    rest = one.steps[one.index + one.rng.randint(1, len(one.steps) - one.index - 1) :]
    numbers = [*range(1, one.index + 1), *range(len(one.steps) - len(rest) + 1, len(one.steps) + 1)]
    kept = one.rng.random() < 0.5
    return one.planted(written((*one.steps[: one.index], *rest), one.answer, numbers if kept else ()), "dropped")


def repeated(one: Trace) -> Planted:
    again = (*one.steps[: one.index + 1], *one.steps[one.index :])
    numbers = [*range(1, one.index + 2), *range(one.index + 1, len(one.steps) + 1)]
    kept = one.rng.random() < 0.5
    return one.planted(written(again, one.answer, numbers if kept else ()), "repeated", one.index + 1)


def numbering(one: Trace) -> Planted:
    numbers = list(range(1, len(one.steps) + 1))
    shift = one.rng.choice([-1, 1, 2, 10])
    last = one.index + 1 if one.rng.random() < 0.5 else len(numbers)
    numbers[one.index : last] = [number + shift for number in numbers[one.index : last]]
    return one.planted(written(one.steps, one.answer, numbers), "numbering")


def surplus(one: Trace) -> Planted:
    answer = int(one.answer)
    more = Step(answer, "+", other := one.rng.randint(1, 9), answer + other, str(answer + other))
    return one.planted(written((*one.steps, more), one.answer), "surplus", len(one.steps))


def stop(one: Trace) -> Planted:
    guess = one.answer if one.rng.random() < 0.5 else other_digit(one.rng, int(one.answer))
    return one.planted(written(one.steps[: one.index], guess), "stop")


def verdict(one: Trace) -> Planted:
    if one.rng.random() < 0.5:
        return one.planted(written((), ERROR), "verdict", 0)
    malformed = expression.pose(one.rng, invalid=True)
    steps = one.steps if one.rng.random() < 0.5 else ()
    return Planted(malformed, written(steps, one.answer), 0, "verdict")


def wording(one: Trace) -> Planted:
    text = written(one.steps, one.answer)
    match = one.rng.choice(list(WORDS.finditer(text)))
    number = len(re.findall(r"\nStep \d+", text[: match.end() + 2]))
    index = len(one.steps) if match[0] in ("</think>", "Final Result") else max(0, number - 1)
    spoilt = text[: match.start()] + misspelt(one.rng, match[0]) + text[match.end() :]
    return one.planted(spoilt, "wording", index)


def none(one: Trace) -> Planted:
    text = written(one.steps, "")
    end = one.rng.choice(["", "Final Result: ", "\nFinal Result: ", "\n</think>\nFinal Result: "])
    return one.planted(text.removesuffix(end), "none", len(one.steps))


def answer(one: Trace) -> Planted:
    return one.planted(written(one.steps, other_digit(one.rng, int(one.answer))), "answer", len(one.steps))


EXPRESSION: dict[str, Callable[[Trace], Planted | None]] = {
    one.__name__: one
    for one in (
        digit, operand, order, copy, dropped, repeated, numbering, surplus, stop, verdict, wording, none, answer,
    )
}  # fmt: skip


def plant(kind: str, seed: str) -> Planted:
    """A working of an expression with a fault of this kind."""
    rng = random.Random(seed)
    while True:
        one = trace(rng)
        if one.steps and (planted := EXPRESSION[kind](one)):
            return planted


# Sums

COLUMNS = ("digit", "operand", "carry", "dropped", "repeated", "surplus", "stop", "wording", "none", "answer")


def plant_in_columns(kind: str, seed: str) -> Planted:
    """A working of a sum, column by column, with a fault of this kind."""
    rng = random.Random(seed)
    while True:
        problem = addition.pose(rng, max_digits=8, max_operands=4, carry_rate=0.2)
        if planted := spoil(rng, problem, kind):
            return planted


def spoil(rng: random.Random, problem: str, kind: str) -> Planted | None:
    working = addition.work(problem)
    columns, result, last = list(working.steps), working.answer, len(working.steps)
    index = rng.randrange(last)
    column = columns[index]
    if kind == "digit":
        columns[index:] = goes_on(rng, columns, index, replace(column, total=other_digit(rng, column.total)))
    elif kind == "carry":
        carry = 0 if column.carry and rng.random() < 0.5 else column.carry + 1
        total = sum(column.digits) + carry
        columns[index:] = goes_on(rng, columns, index, Column(column.digits, carry, total))
    elif kind == "operand":
        place = rng.randrange(len(column.digits))
        others = {int(character) for character in problem if character.isdigit()} - {column.digits[place]}
        if not others:
            return None
        digits = (*column.digits[:place], rng.choice(sorted(others)), *column.digits[place + 1 :])
        columns[index:] = goes_on(rng, columns, index, Column(digits, column.carry, sum(digits) + column.carry))
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
    text = Addition().completion(Working(tuple(columns), result))
    if kind == "wording":
        place = rng.choice([place for place, character in enumerate(text) if character in "+=<>/"])
        index = last if "<" in text[1:place] else text[:place].count(" ")
        text = text[:place] + text[place + 1 :]
    elif kind == "none":
        text, index = text.removesuffix(str(result)), last
    elif kind == "answer":
        text, index = text.removesuffix(str(result)) + str(other_digit(rng, int(result))), last
    return Planted(problem, text, index, kind)


def goes_on(rng: random.Random, columns: list[Column], index: int, planted: Column) -> list[Column]:
    """The planted column, and behind it columns that take its carry on, or those that were there."""
    found, carry = [planted], planted.total // 10
    stays = rng.random() < 0.5
    for column in columns[index + 1 :]:
        total = sum(column.digits) + carry
        found.append(column if stays else Column(column.digits, carry, total))
        carry = total // 10
    return found
