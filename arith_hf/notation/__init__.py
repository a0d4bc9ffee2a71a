"""The written forms of the tasks: for each, how a problem, a working and an answer are written and read back.

The only room that knows the tags and keywords; may not know how a problem is solved, nor any framework. A form is named
as the column `task` of every row names it: `expression`, `text`, or `addition/columns` with options behind.
"""

from functools import cache

from arith_hf.notation import expression, text
from arith_hf.notation.addition import Addition
from arith_hf.notation.base import BOS, END_THINK, PAD, THINK, UNK, Form

__all__ = ["BOS", "END_THINK", "PAD", "THINK", "UNK", "Form", "of"]


def of(name: str) -> Form:
    """The form of this name; ValueError names the known ones."""
    if not isinstance(name, str):  # it may come from a file
        raise ValueError(f"need the name of a task, such as expression, got {name!r}")
    return found(name)


@cache
def found(name: str) -> Form:
    task = name.partition("/")[0]
    if name == "expression":
        return expression
    if name == "text":
        return text
    if task == "addition":
        return Addition.read(name)
    raise ValueError(f"unknown task {name!r}: need expression, text, or addition/STYLE")
