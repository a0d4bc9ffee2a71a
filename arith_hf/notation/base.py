"""What every written form has: the tags that all share, and the names that generic code asks for.

May not know any task. A module (`expression`) or an object (of `addition`, which has styles) is a form by having these.
"""

import re
from typing import Any, Protocol

from arith_hf.tasks.base import Answer, Reading, Working

PAD, UNK, BOS = "<pad>", "<unk>", "<bos>"
THINK, END_THINK = "<think>", "</think>"  # ordinary tokens: decoding that skips special ones must keep them


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
