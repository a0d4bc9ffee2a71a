"""What every written form has: the tags that all share, and the names that generic code asks for.

May not know any task. A module (`expression`) or an object (of `addition`, which has styles) is a form by having these.
"""

import re
from typing import Any, Protocol

from arith_hf.tasks.base import Answer, Reading, Working

PAD, UNK, BOS = "<pad>", "<unk>", "<bos>"
THINK, END_THINK = "<think>", "</think>"  # ordinary tokens: decoding that skips special ones must keep them


MISCOPIED = 500  # characters behind the first difference that are compared; it takes their square, some 50 ms
LOOKED = 12  # characters of what is due, beyond as many as were written, among which the place to go on is looked for


def spliced(written: str, due: str) -> str:
    """What was written, and the rest of what is due behind the place in it that it came to.

    That is the end of the beginning of `due` that is most like it: a character may be too much or too little at a cost
    of 1, and a digit be another digit; the longest of those at the same cost. Where more than MISCOPIED characters
    stand behind the first difference, it is as far as these are long.

    >>> spliced("(5 + 3", "((5 + 3) - 1)"), spliced("Step 10: ", "Step 9: 4 - 1"), spliced("6", "7 + 8")
    ('(5 + 3) - 1)', 'Step 10: 4 - 1', '6 + 8')
    """
    same = next((at for at, (one, other) in enumerate(zip(written, due, strict=False)) if one != other), None)
    if same is None:
        return written + due[len(written) :]
    if len(written) - same > MISCOPIED:
        return written + due[len(written) :]
    wrong, ahead = written[same:], due[same : len(written) + LOOKED]
    costs = list(range(len(ahead) + 1))
    for row, one in enumerate(wrong, start=1):
        before, costs = costs, [row]
        for column, other in enumerate(ahead, start=1):
            change = 0 if one == other else 1 if one.isdigit() and other.isdigit() else 2
            costs.append(min(before[column] + 1, costs[-1] + 1, before[column - 1] + change))
    best = max(range(len(costs)), key=lambda place: (-costs[place], place))
    return written + due[same + best :]


class Form(Protocol):
    """How problems of one task are written.

    EOS: the end token. KEYWORDS: pieces that a tokenizer keeps whole; ALPHABET: what problems are written in besides.
    EXAMPLE: a problem as a person types it; WHAT: what a model of it does, for its card. LINE_ENDS: tokens behind which
    a line of its own begins, for `line_stride`. DECISIVE, VERDICT: patterns of what weighs more in the loss where a
    recipe says so.
    """

    @property
    def EOS(self) -> str: ...
    @property
    def KEYWORDS(self) -> tuple[str, ...]: ...
    @property
    def ALPHABET(self) -> str: ...
    @property
    def EXAMPLE(self) -> str: ...
    @property
    def WHAT(self) -> str: ...
    @property
    def LINE_ENDS(self) -> tuple[str, ...]: ...
    @property
    def DECISIVE(self) -> re.Pattern[str]: ...
    @property
    def VERDICT(self) -> re.Pattern[str]: ...

    def problem(self, text: str, /) -> str:
        """The column `problem` of a problem as the task writes it."""

    def prompt(self, problem: str, /) -> str:
        """What the model is given of the column `problem`."""

    def ask(self, text: str, /) -> str:
        """The prompt of what a person typed; ValueError says what is wrong with it."""

    def room(self, prompt: str, /) -> int:
        """New tokens that any right completion of a prompt fits in."""

    def completion(self, working: Working, /) -> str:
        """The right completion, from the task's working."""

    def solution(self, prompt: str, /) -> str:
        """The right completion of a prompt."""

    def begun(self, working: Working, count: int, /) -> str | None:
        """The completion up to its step `count`, that one included; None where the form writes no steps."""

    def resumed(self, text: str, /) -> str:
        """A prompt and any beginning of its completion, with its continuation from there, right or wrong as it is.

        What stands there is not mended: a wrong result is worked on with. A guess where it is not in the form.
        """

    def hinted(self, problem: str, answer: int, /) -> str | None:
        """The prompt with a result said beforehand, in the form's own words; None where it has none for that."""

    def posed(self, text: str, /) -> str:
        """The problem, as the task writes it, that a training text or a prompt poses."""

    def continued(self, prompt: str, completion: str, /) -> str:
        """The completion behind what completes a prompt that was left open."""

    def read_answer(self, completion: str, /) -> Answer | None:
        """The answer; None where none can be read."""

    def read_working(self, completion: str, /, finished: bool = True) -> Reading:
        """The steps, whatever their numbers, and the text from the first that is not in the form on."""

    def read_steps(self, completion: str, /) -> list[Any] | None:
        """The steps up to the first that cannot be read or is out of sequence; None where the form has no steps."""

    def pieces(self, completion: str, /) -> tuple[str, list[str], str]:
        """The text cut at its steps: what is before the first, each one that `read_working` reads, what is behind."""

    def facts(self, text: str, /) -> list[str]:
        """The single facts that a text works out."""

    def shown(self, completion: str, /) -> str:
        """The working for a person."""
