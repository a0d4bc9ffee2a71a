"""A reading of JSON for tests, by the grammar of RFC 8259: patterns and a stack, nothing of Python's reader."""

import re
from typing import Any

TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<mark>[\[\]{},:])"
    r'|"(?P<string>(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)"'
    r"|(?P<whole>-?(?:0|[1-9][0-9]*))(?P<part>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<word>true|false|null|NaN|Infinity|-Infinity))"
)
WORDS = {"true": True, "false": False, "null": None}
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
OPEN, CLOSE = {"{": "}", "[": "]"}, {"}", "]"}


def row(line: bytes) -> dict[str, Any]:
    """The object of a line; ValueError for what is no JSON, and for what a row may not have."""
    found = reading(line.decode("utf-8"), strict=True)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def reading(text: str, strict: bool) -> Any:
    """The value of a text; `strict`: each key once, numbers finite, at most 100 levels, no half of a surrogate pair."""
    done: list[Any] = []
    stack: list[tuple[str, list[Any]]] = []
    wanted = "value"  # or "key", "colon", "comma", "end"; a closing mark where `empty` allows it
    empty = False
    place = 0
    while place < len(text.rstrip(" \t\r\n")):
        match = TOKEN.match(text, place)
        if not match:
            raise ValueError(f"nothing that JSON has at {place}")
        place, mark = match.end(), match["mark"]
        items = stack[-1][1] if stack else done
        if mark in CLOSE:
            if not stack or OPEN[stack[-1][0]] != mark or not (empty or wanted == "comma"):
                raise ValueError("closed too early")
            kind, items = stack.pop()
            (stack[-1][1] if stack else done).append(joined(items, strict) if kind == "{" else items)
        elif mark == ",":
            if wanted != "comma":
                raise ValueError("a comma too many")
            wanted, empty = ("key" if stack[-1][0] == "{" else "value"), False
            continue
        elif mark == ":":
            if wanted != "colon":
                raise ValueError("a colon too many")
            wanted = "value"
            continue
        elif mark:
            if wanted != "value":
                raise ValueError("no place for a value")
            stack.append((mark, []))
            if strict and len(stack) > 100:
                raise ValueError("too deep")
            wanted, empty = ("key" if mark == "{" else "value"), True
            continue
        elif wanted == "key" and match["string"] is not None:
            items.append(string(match["string"], strict))
            wanted, empty = "colon", False
            continue
        elif wanted == "value":
            items.append(scalar(match, strict))
        else:
            raise ValueError("no place for a value")
        wanted, empty = ("comma" if stack else "end"), False
    if wanted != "end" or stack:
        raise ValueError("not whole")
    return done[0]


def joined(items: list[Any], strict: bool) -> dict[str, Any]:
    keys = items[::2]
    if strict and len(set(keys)) < len(keys):
        raise ValueError("a key twice")
    return dict(zip(keys, items[1::2], strict=True))


def scalar(match: re.Match[str], strict: bool) -> Any:
    if match["string"] is not None:
        return string(match["string"], strict)
    if match["word"] in WORDS:
        return WORDS[match["word"]]
    if match["word"]:
        if strict:
            raise ValueError("not finite")
        return float(match["word"])
    if not match["part"]:
        if len(match["whole"].lstrip("-")) > 4300:
            raise ValueError("too long for Python")
        return int(match["whole"])
    number = float(match["whole"] + match["part"])
    if strict and number in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    return number


def string(text: str, strict: bool) -> str:
    def unit(match: re.Match[str]) -> str:
        return chr(int(match[1][1:], 16)) if match[1][0] == "u" else ESCAPES.get(match[1], match[1])

    plain = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", unit, text)
    paired = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]", lambda one: one[0].encode("utf-16", "surrogatepass").decode("utf-16"), plain
    )
    if strict:
        paired.encode()
    return paired
