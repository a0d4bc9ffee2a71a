"""Conversations that lie as trees, one message a row, as in `OpenAssistant/oasst1`: of each tree the best path.

May not know what a conversation must be beside that. The columns are `message_id`, `parent_id` (none: the first of a
tree), `text` and `role` (prompter or assistant); `rank` (0 is the best of several replies), `deleted`,
`review_result`, `tree_state` and `lang` are heeded where they are. One conversation is made of a tree: one for each of
its leaves would learn what stands near the root as often as it was answered.

All messages of a source are held in memory (the 88 838 of oasst1: some 150 MB), as their order says nothing.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

Row = dict[str, Any]
NEEDED = ("message_id", "parent_id", "text", "role")
ROLES = {"prompter": "user", "assistant": "assistant"}
KEPT = (*NEEDED, "rank", "deleted", "review_result", "tree_state", "lang")


def are_of(row: Row) -> bool:
    """Whether the rows of a source are messages of trees, by one of them."""
    return {"message_id", "parent_id"} <= set(row)


def conversations(rows: Iterable[Row], where: str) -> Iterator[tuple[Row, str | None]]:
    """Of each tree its conversation as `messages`, or why there is none; in the order of the first messages."""
    messages: dict[str, Row] = {}
    replies: dict[str | None, list[Row]] = {}
    for number, row in enumerate(rows, start=1):
        if lacking := [name for name in NEEDED if name not in row]:
            raise ValueError(f"{where}, row {number}: need the columns {', '.join(NEEDED)}, got no {lacking[0]}")
        one: Row = {name: row.get(name) for name in KEPT}
        for name, kinds in (("message_id", str), ("parent_id", str | None)):
            if not isinstance(one[name], kinds):
                raise ValueError(f"{where}, row {number}: need a string as {name}, got {one[name]!r}")
        if messages.setdefault(one["message_id"], one) is one:
            replies.setdefault(one["parent_id"], []).append(one)
        else:
            yield {}, "message_id_twice"
    seen: set[str] = set()
    for top in messages.values():
        if top["parent_id"] not in messages:
            tree = below(top, replies, seen)
            fault = fault_of(tree, messages)
            said = [] if fault else best_path(top, replies)
            yield {"messages": said, "language": top["lang"]}, fault or (None if said else "unanswered")
    for left in messages:  # under none of them: each is its own ancestor, or below one that is
        if left not in seen:
            below(on_the_cycle(left, messages), replies, seen)
            yield {}, "cycle"


def below(top: Row, replies: dict[str | None, list[Row]], seen: set[str]) -> list[Row]:
    """The message and all that follow from it, each once; they are `seen` now."""
    seen.add(top["message_id"])
    found = [top]
    for one in found:  # which grows
        more = [reply for reply in replies.get(one["message_id"], []) if reply["message_id"] not in seen]
        seen.update(reply["message_id"] for reply in more)
        found += more
    return found


def on_the_cycle(start: str, messages: dict[str, Row]) -> Row:
    """A message that is its own ancestor, above one that has no first."""
    passed = set()
    while start not in passed:
        passed.add(start)
        start = messages[start]["parent_id"]
    return messages[start]


def fault_of(tree: list[Row], messages: dict[str, Row]) -> str | None:
    """Why nothing is made of a tree, its first message first."""
    top = tree[0]
    if top["parent_id"] is not None:
        return "parent_missing"
    if top["tree_state"] not in (None, "ready_for_export"):
        return "tree_state"
    if not is_good(top):
        return "deleted"
    if top["role"] != "prompter" or any(one["role"] not in ROLES for one in tree):
        return "roles"
    if any(one["role"] == messages[one["parent_id"]]["role"] for one in tree[1:]):
        return "roles"
    return None


def is_good(one: Row) -> bool:
    """Whether a message was neither deleted nor found bad; what was not reviewed is."""
    return not one["deleted"] and one["review_result"] is not False


def best_path(top: Row, replies: dict[str | None, list[Row]]) -> list[Row]:
    """From the first message to the last good reply of the assistant, each the best by rank, then by order.

    Replies without a rank come last, questions without an answer not at all: what they lead to is nothing to learn.
    """

    def good(one: Row) -> list[Row]:
        return [reply for reply in replies.get(one["message_id"], []) if is_good(reply)]

    path, asked = list[Row](), [top] if good(top) else []
    while asked:
        question = min(asked, key=standing)
        answer = min(good(question), key=standing)
        path += [question, answer]
        asked = [one for one in good(answer) if good(one)]
    return [{"role": ROLES[one["role"]], "content": one["text"]} for one in path]


def standing(one: Row) -> float:
    try:
        rank = float(one["rank"])
    except (TypeError, ValueError):
        return math.inf
    return math.inf if math.isnan(rank) else rank
