"""Workings of an expression with one fault planted, of every kind that the judge of steps names.

May not know where the problem comes from. A function returns None where its fault cannot be planted in the working.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from arith_hf.corruption.planted import HALF, Planted, other_digit
from arith_hf.notation import expression as notation
from arith_hf.tasks import expression
from arith_hf.tasks.base import ERROR, Answer, Step, Working
from arith_hf.tasks.grammar import calculate

STEPS = ("digit", "operand", "order", "copy", "dropped", "repeated")  # a step is wrong, missing or there again


def misspelt(rng: random.Random, word: str) -> str:
    """The word without one of its letters, or with two of them exchanged."""
    place = rng.randrange(len(word) - 1)
    if rng.random() < 0.5 and word[place] != word[place + 1]:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + word[place + 1 :]


WORDS = re.compile("Step|Expression now|Final Result|<think>|</think>|Evaluation ERROR")


@dataclass(frozen=True)
class Trace:
    """A right working of an expression, and the step that shall be spoilt."""

    rng: random.Random
    problem: str
    steps: tuple[Step, ...]
    answer: Answer
    index: int
    goes_on: float = HALF  # the chance that what stands behind the step follows from it

    @property
    def line(self) -> str:
        """What the step rewrites, as a working writes it."""
        return expression.normalise(self.steps[self.index - 1].expression if self.index else self.problem)

    def planted(self, text: str, kind: str, index: int | None = None) -> Planted:
        return Planted(self.problem, text, self.index if index is None else index, kind)

    def spoilt(self, step: Step, kind: str) -> Planted | None:
        """With this step, and behind it what follows from it or what was there; None where it must and cannot."""
        steps, answer = self.steps[self.index + 1 :], self.answer
        if self.rng.random() < self.goes_on and (then := expression.work(step.expression)).answer != ERROR:
            steps, answer = then.steps, then.answer
        elif self.goes_on == 1:
            return None
        return self.planted(written((*self.steps[: self.index], step, *steps), answer), kind)


def written(steps: Sequence[Step], answer: Answer, numbers: Sequence[int] = ()) -> str:
    text = notation.completion(Working(tuple(steps), answer))
    left = iter(numbers)
    return re.sub(r"\nStep \d+: ", lambda _: f"\nStep {next(left)}: ", text) if numbers else text


def done(line: str, match: re.Match[str], result: int) -> str:
    """The line with what was matched replaced by a result."""
    return expression.normalise(f"{line[: match.start()]}{result}{line[match.end() :]}")


def numbers_of(line: str) -> list[int]:
    return [int(word) for word in re.sub("[()]", " ", line).split() if word[-1].isdigit()]


def digit(one: Trace) -> Planted | None:
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
    other = one.rng.choice(others)
    step = replace(step, left=other) if side == "left" else replace(step, right=other)
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


def copy(one: Trace) -> Planted | None:
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


KINDS: dict[str, Callable[[Trace], Planted | None]] = {
    one.__name__: one
    for one in (
        digit, operand, order, copy, dropped, repeated, numbering, surplus, stop, verdict, wording, none, answer,
    )
}  # fmt: skip


def spoil(rng: random.Random, problem: str, kind: str, form: object = None, goes_on: float = HALF) -> Planted | None:
    """The working of a problem with a fault of this kind at a step drawn evenly; None for a problem without steps."""
    working = expression.work(problem)
    if not working.steps:
        return None
    index = rng.randrange(len(working.steps))
    return KINDS[kind](Trace(rng, problem, working.steps, working.answer, index, goes_on))
