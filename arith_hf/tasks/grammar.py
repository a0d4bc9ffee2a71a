"""The text of an expression and its tree: read, written back, tidied.

    sum    := term (("+" | "-") term)*        left associative
    term   := number | "(" sum ")"
    number := digits with an optional "-" that touches them; spaces may stand between
              only at the very start and right after "("

So `5 - -3` and `5 --3` are valid; `5 -- 3`, `5 - - 3`, `+5` and `-(3 + 4)` are malformed. Nothing here recurses: every
function takes time linear in the length of its text, whatever the nesting. May not know what is asked about a tree.
"""

from __future__ import annotations

import re
from typing import TypeAlias

MAX_DIGITS = 1000  # of one number; well under the 4300 from which Python refuses to read an integer

Tree: TypeAlias = "int | tuple[Tree, str, Tree]"

UNKNOWN = re.compile(r"[^0-9+\-()\s]")
LEXEME = re.compile(
    r"(?P<digits>[0-9]+)|(?P<parenthesis>[()])"
    r"|(?P<touching>[+-]+(?=[0-9]))|(?P<near>[+-]+(?=\s+[0-9]))|(?P<loose>[+-]+)"
)


class UnknownCharacter(ValueError):
    """A character that no expression has; the message names it and its column, counted from 1."""


def lexemes(expression: str) -> list[str]:
    """Parentheses, numbers with their sign and without leading zeros, and runs of operators as they were typed."""
    if unknown := UNKNOWN.search(expression):
        raise UnknownCharacter(
            f"unknown character {unknown[0]!r} at column {unknown.start() + 1}: need digits, +, -, ( ) and spaces only"
        )
    found: list[str] = []
    sign = ""
    for match in LEXEME.finditer(expression):
        text, opening = match[0], not found or found[-1] == "("
        if match.lastgroup == "digits":
            if len(text) > MAX_DIGITS:
                raise ValueError(
                    f"need numbers of at most {MAX_DIGITS} digits, got {len(text)} at column {match.start() + 1}"
                )
            magnitude = text.lstrip("0")
            text, sign = (sign + magnitude if magnitude else "0"), ""
        elif match.lastgroup == "touching":
            # The last "-" is a sign unless it is all that can join the operand before it to the number after it.
            if text[-1] == "-" and (len(text) > 1 or opening or found[-1][-1] in "+-"):
                text, sign = text[:-1], "-"
        elif match.lastgroup == "near" and text == "-" and opening:
            text, sign = "", "-"
        if text:
            found.append(text)
    return found


def parse(expression: str) -> Tree | None:
    """The tree of an expression, a bare number being an int; None where it is malformed."""
    outer: list[tuple[Tree | None, str]] = []
    left: Tree | None = None
    operator = ""
    for lexeme in lexemes(expression):
        if lexeme in ("+", "-"):
            if left is None or operator:
                return None
            operator = lexeme
            continue
        if lexeme == "(":
            outer.append((left, operator))
            left, operator = None, ""
            continue
        if lexeme == ")":
            if left is None or operator or not outer:
                return None
            operand = left
            left, operator = outer.pop()
        elif lexeme[-1].isdigit():
            operand = int(lexeme)
        else:
            return None
        if left is None:
            left = operand
        elif operator:
            left, operator = (left, operator, operand), ""
        else:
            return None
    return None if operator or outer else left


def bracketed(tree: Tree) -> str:
    """Text of a tree with parentheses around every inner node, the root included."""
    pieces: list[str] = []
    ahead: list[Tree | str] = [tree]
    while ahead:
        item = ahead.pop()
        if isinstance(item, tuple):
            left, operator, right = item
            pieces.append("(")
            ahead += [")", right, f" {operator} ", left]
        else:
            pieces.append(str(item))
    return "".join(pieces)


def without_root(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text


def tidy(expression: str) -> str:
    """The expression with one space around operators and none elsewhere, signs touching, parentheses as typed.

    >>> tidy(" 12+7 -( - 03)"), tidy("5--3"), tidy("5 -- 3")
    ('12 + 7 - (-3)', '5 - -3', '5 -- 3')
    """
    return " ".join(lexemes(expression)).replace("( ", "(").replace(" )", ")")


def calculate(left: int, operator: str, right: int) -> int:
    return left + right if operator == "+" else left - right
