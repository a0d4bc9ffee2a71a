"""The written forms of addition: how a sum, its columns and its answer are written, and how they are read back.

May not know how a sum is worked (`tasks.addition` does), nor any framework. For `658+189=` the forms write

    direct      847
    columns     <think>8+9=17 5+8+1=14 6+1+1=8</think>847
    reversed    748                 behind 856+981=, every number with its lowest digit first
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from arith_hf.notation.base import END_THINK, THINK, spliced
from arith_hf.tasks import addition as task
from arith_hf.tasks.addition import Column
from arith_hf.tasks.base import ERROR, Reading, Working
from arith_hf.tasks.grammar import MAX_DIGITS

STYLES = ("direct", "columns", "reversed")
OPTIONS = ("zero_pad", "align", "think_length")
NOOP = "<noop>"  # a token that says nothing: time to think, no more

ROOM = 32  # new tokens that every prompt is given, at least
OPEN_DIGITS = 10  # of the number that completes an open prompt: far longer than those of training

MOST_THINKING = 100_000  # characters between the tags; more than a sum of the longest numbers takes

DIGITS = re.compile(r"[0-9]{1,2000}")  # Python reads no integer past 4300 digits
COLUMN = re.compile(
    r"(?<![0-9+])([0-9](?:\+[0-9]{1,9})+)=(0|[1-9][0-9]{0,8})(?: |(?=<))"
)  # the tag behind may be misspelt
FACT = re.compile(rf"(?:(?<={THINK})|(?<= ))([0-9](?:\+[0-9]+)+)=(?=[0-9])")
CLOSING = re.compile(rf"(?:{NOOP})*(?:{END_THINK}(?:{DIGITS.pattern})?)?")  # any part of it, none too
RESULTS = re.compile(rf"(?:(?<==)|(?<={END_THINK}))[0-9]+")
OPERANDS = re.compile(r"[0-9]+(?:\+[0-9]+)*")
ANSWER = re.compile(r"(?<==)[0-9]+")

UNREAD = Column((), 0, 0)  # for the column at which a padded working stops too early: without it, it might seem whole


@dataclass(frozen=True)
class Addition:
    """One written form.

    style: one of STYLES. zero_pad: every operand is written with so many digits at least, the answer with one more.
    align: 1: every operand is written with as many digits as the longest.
    think_length: tokens between the tags (a character each), what is left being filled with NOOP; 0 fills nothing.
    """

    style: str = "columns"
    zero_pad: int = 0
    align: int = 0
    think_length: int = 0

    EOS: ClassVar[str] = "<end>"
    KEYWORDS: ClassVar[tuple[str, ...]] = (THINK, END_THINK, NOOP)  # all else goes by the character
    ALPHABET: ClassVar[str] = "0123456789+= "
    EXAMPLE: ClassVar[str] = "12+34="
    WHAT: ClassVar[str] = "adds whole numbers"
    LINE_ENDS: ClassVar[tuple[str, ...]] = ("+", "=")
    VERDICT: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")  # no problem is malformed

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"need style one of {', '.join(STYLES)}, got {self.style!r}")
        if not 0 <= self.zero_pad <= MAX_DIGITS:
            raise ValueError(f"need 0 <= zero_pad <= {MAX_DIGITS}, got {self.zero_pad}")
        if self.align not in (0, 1):
            raise ValueError(f"need align 0 or 1, got {self.align}")
        if not 0 <= self.think_length <= MOST_THINKING:
            raise ValueError(f"need 0 <= think_length <= {MOST_THINKING}, got {self.think_length}")
        if self.think_length and self.style != "columns":
            raise ValueError(f"need style columns for think_length, got {self.style}: leave think_length out")

    @classmethod
    def read(cls, name: str) -> Addition:
        """The form of a name, `addition/STYLE` and its options behind; ValueError for any but the one `name` of a form.

        >>> Addition.read("addition/columns/zero_pad=3")
        Addition(style='columns', zero_pad=3, align=0, think_length=0)
        """
        head, _, rest = name.partition("/")
        style, *parts = rest.split("/")
        if head != "addition" or style not in STYLES:
            raise ValueError(f"unknown form {name!r}: need addition/ and one of {', '.join(STYLES)}")
        options = {}
        for part in parts:
            option, _, value = part.partition("=")
            if option not in OPTIONS or not re.fullmatch("[0-9]{1,9}", value):
                wanted = ", ".join(f"{one}=NUMBER" for one in OPTIONS)
                raise ValueError(f"unknown option {part!r} in {name!r}: need one of {wanted}")
            options[option] = int(value)
        form = cls(style, **options)
        if form.name != name:
            raise ValueError(f"need {form.name!r}, got {name!r}: leave defaults out and keep the order")
        return form

    @property
    def name(self) -> str:
        """`addition`, the style, and the options that are not at their default."""
        options = (f"{option}={getattr(self, option)}" for option in OPTIONS if getattr(self, option))
        return "/".join(("addition", self.style, *options))

    @property
    def DECISIVE(self) -> re.Pattern[str]:
        """What is not copied from the prompt: the total of each column and the answer."""
        return RESULTS if self.style == "columns" else ANSWER

    # Writing

    def turned(self, digits: str) -> str:
        """Digits in the order of the form; turned twice they are as before."""
        return digits[::-1] if self.style == "reversed" else digits

    def operands(self, numbers: Sequence[int]) -> str:
        """The operands with `+` between them, padded as the form asks."""
        width = max(self.zero_pad, max(len(str(number)) for number in numbers) if self.align else 0)
        return "+".join(self.turned(str(number).zfill(width)) for number in numbers)

    def problem(self, text: str) -> str:
        """The canonical problem of what a person typed; raises UnknownCharacter."""
        return task.tidy(text)

    def prompt(self, problem: str) -> str:
        """The operands as the form writes them.

        >>> Addition("reversed", zero_pad=3).prompt("658+19=")
        '856+910='
        """
        operands = task.numbers(problem)
        if operands is None:
            raise ValueError(f"need a sum such as {self.EXAMPLE}, got {problem!r}: type numbers with + between them")
        return self.operands(operands) + "="

    def ask(self, text: str) -> str:
        """The prompt of what a person typed; a sum that ends in `+` stays open, for the model to complete.

        >>> Addition().ask("12 + 34"), Addition("reversed").ask("12+")
        ('12+34=', '21+')
        """
        typed = self.problem(text)
        if behind := typed.partition("=")[2]:
            raise ValueError(f"need nothing behind =, got {behind!r}: leave it out")
        opened = task.numbers(f"{typed}0") if typed.endswith("+") else None
        if opened is None:
            return self.prompt(typed)
        return self.operands(opened[:-1]) + "+"

    def completion(self, working: Working) -> str:
        """The solution; ValueError for the working of a malformed problem and for one longer than `think_length`."""
        if working.answer == ERROR:
            raise ValueError(f"need the working of a sum such as {self.EXAMPLE}, got {ERROR}: pose a well-formed one")
        answer = self.turned(str(working.answer).zfill(self.zero_pad + 1))
        return (self.thought(list(working.steps)) if self.style == "columns" else "") + answer

    def thought(self, columns: list[Column]) -> str:
        """The columns between the tags: those of the padding above them, and NOOP behind, as the form asks."""
        while len(columns) < self.zero_pad:
            columns = [*columns, task.above(columns[-1])]
        text = " ".join(map(line, columns))
        if 0 < self.think_length < len(text):
            raise ValueError(
                f"need a working of at most {self.think_length} tokens, got {len(text)}: raise think_length"
            )
        return THINK + text + NOOP * (self.think_length - len(text)) + END_THINK

    def begun(self, working: Working, count: int) -> str | None:
        """The completion up to its column `count`; None for a form that writes none.

        >>> Addition().begun(task.work("658+189="), 2)
        '<think>8+9=17 5+8+1=14'
        """
        return THINK + " ".join(map(line, working.steps[:count])) if self.style == "columns" else None

    def resumed(self, text: str) -> str:
        """A prompt and any beginning of its completion, with its continuation from there, right or wrong as it is.

        >>> Addition().resumed("658+189=<think>8+9=16 "), Addition("direct").resumed("658+189=9")
        ('658+189=<think>8+9=16 5+8+1=14 6+1+1=8</think>846', '658+189=947')
        """
        head, equals, written = text.partition("=")
        totals = [int(match[2]) for match in COLUMN.finditer(written)]
        try:
            due = self.completion(task.work_on(self.posed(head + equals), totals))
        except ValueError:  # no sum, or a wrong total that leaves no room for the rest
            return text
        return head + equals + spliced(written, due)

    def hinted(self, problem: str, answer: int) -> None:
        """None: a sum has no word for a result but the answer itself."""

    def solution(self, prompt: str) -> str:
        """The right completion of a prompt.

        >>> Addition("reversed").solution("856+981=")
        '748'
        """
        return self.completion(task.work(self.posed(prompt)))

    def room(self, prompt: str) -> int:
        """New tokens that any right completion of a prompt takes at most, with its end; a guess for an open prompt."""
        operands = prompt.removesuffix("=").split("+")
        width = max(self.zero_pad, *map(len, operands), 0 if prompt.endswith("=") else OPEN_DIGITS)
        open_number = 0 if prompt.endswith("=") else width + 1
        thought = width * (4 * len(operands) + 6) if self.style == "columns" else 0
        return max(ROOM, open_number + thought + self.think_length + width + 4)

    # Reading

    def read_answer(self, completion: str) -> int | None:
        """What stands behind the one working (columns), or all there is: digits as the form writes them; else None.

        A zero too many is no answer: where a length is claimed, it is the error to be seen.

        >>> Addition().read_answer("<think>1+2=3</think>3"), Addition("reversed").read_answer("748")
        (3, 847)
        >>> Addition("direct").read_answer("08"), Addition("direct").read_answer("5=8")
        (None, None)
        """
        answer = completion
        if self.style == "columns":
            whole = completion.startswith(THINK) and (completion.count(THINK), completion.count(END_THINK)) == (1, 1)
            answer = completion.partition(END_THINK)[2] if whole else ""
        if not DIGITS.fullmatch(answer):
            return None
        number = int(self.turned(answer))
        return number if self.turned(answer) == str(number).zfill(self.zero_pad + 1) else None

    def continued(self, prompt: str, completion: str) -> str:
        """The completion behind what an open prompt was completed by; empty where it was not.

        >>> Addition("direct").continued("7+", "5=12"), Addition("direct").continued("7+", "12")
        ('12', '')
        """
        if not prompt.endswith("+"):
            return completion
        number, equals, rest = completion.partition("=")
        return rest if equals and OPERANDS.fullmatch(number) else ""

    def read_working(self, completion: str, finished: bool = True) -> Reading:
        """The columns of a working, and the text from the first that is not in the form on; without steps the answer's.

        Padding that is right is left out, as a problem leaves it out; where some of it is missing stands UNREAD.
        """
        if self.style != "columns":
            answer = completion.rpartition("=")[2]
            return Reading(None, "" if DIGITS.fullmatch(answer) else answer, finished=finished)
        before, found, thought = completion.partition(THINK)
        if not found:
            return Reading([UNREAD] if self.zero_pad else [], before, finished=finished)
        written = list(read_columns(thought))
        columns = [column for column, _ in written]
        place = sum(len(text) for _, text in written)
        rest = "" if CLOSING.fullmatch(thought, place) else thought[place:]
        if len(columns) < self.zero_pad:
            columns.append(UNREAD)
        elif len(columns) == self.zero_pad:
            while len(columns) > 1 and columns[-1] == task.above(columns[-2]):
                columns.pop()
        return Reading(columns, rest, finished=finished)

    def read_steps(self, completion: str) -> list[Column] | None:
        """The columns alone; None for a form that writes none."""
        steps = self.read_working(completion).steps
        return None if steps is None else list(steps)

    def pieces(self, completion: str) -> tuple[str, list[str], str]:
        """The text cut at its columns, those of the padding too; all of it stands before where the form writes none.

        >>> Addition().pieces("<think>8+7=15 5+0+1=6</think>65")
        ('<think>', ['8+7=15 ', '5+0+1=6'], '</think>65')
        """
        before, found, thought = completion.partition(THINK)
        if self.style != "columns" or not found:
            return completion, [], ""
        columns = [text for _, text in read_columns(thought)]
        return before + found, columns, thought[sum(map(len, columns)) :]

    def facts(self, text: str) -> list[str]:
        """The facts that a text works out, in order; one without its total is not worked out.

        >>> Addition().facts("58+7=<think>8+7=15 5+0+1=6</think>65")
        ['8+7', '5+0+1']
        """
        return FACT.findall(text) if self.style == "columns" else []

    def posed(self, text: str) -> str:
        """The canonical problem that a prompt poses, with or without its completion; what is no sum stays as it is.

        >>> Addition("reversed").posed("856+981=748"), Addition(zero_pad=3).posed("012+007=")
        ('658+189=', '12+7=')
        """
        head, equals, _ = text.partition("=")
        problem = "+".join(map(self.turned, head.split("+"))) + equals
        return problem if task.numbers(problem) is None else task.tidy(problem)

    def shown(self, completion: str) -> str:
        """For a person: what an open sum was completed by, and the working, a column a line; what is not in the form as
        it is.

        >>> Addition().shown("<think>8+7=15 5+0+1=6<noop></think>65"), Addition("direct").shown("5=12")
        ('8+7=15\\n5+0+1=6', '... 5=')
        """
        mark = THINK if self.style == "columns" else "="
        if mark not in completion and (mark == THINK or not DIGITS.fullmatch(completion)):
            return completion.replace(NOOP, "")
        head, _, rest = completion.rpartition(mark)
        opened = [f"... {self.turned(head.removesuffix('='))}="] if head else []
        working = rest.partition(END_THINK)[0].replace(NOOP, "").split() if mark == THINK else []
        return "\n".join([*opened, *working])


def line(column: Column) -> str:
    """A column: its digits, the carry if there is one, and the total.

    >>> line(Column((5, 8), 1, 14)), line(Column((8, 9), 0, 17))
    ('5+8+1=14', '8+9=17')
    """
    terms = (*column.digits, column.carry) if column.carry else column.digits
    return f"{'+'.join(map(str, terms))}={column.total}"


def read_columns(thought: str) -> Iterator[tuple[Column, str]]:
    """The columns from the start of a text on, each with its own text, up to the first that is not in the form."""
    place, operands = 0, 0
    while match := COLUMN.match(thought, place):
        terms = match[1].split("+")
        operands = operands or len(terms)  # no carry goes into the first column, so its terms are the operands
        column = read_column(terms, operands, int(match[2]))
        if column is None:
            return
        yield column, match[0]
        place = match.end()


def read_column(terms: list[str], operands: int, total: int) -> Column | None:
    """The column of its terms, of which those behind the operands are the carry; None if they are not in the form."""
    digits, carry = terms[:operands], terms[operands:]
    if len(digits) < operands or len(carry) > 1 or any(len(digit) > 1 for digit in digits):
        return None
    if carry and carry[0].startswith("0"):  # a carry of 0 is not written
        return None
    return Column(tuple(map(int, digits)), int(carry[0]) if carry else 0, total)
