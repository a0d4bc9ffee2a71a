"""Trees of messages: of each the best path is a conversation; what is no tree is left out and counted."""

import math
import random
from pathlib import Path

import pytest
from datasets import disable_progress_bars, enable_progress_bars

from arith_hf import files
from arith_hf.corpus.text import Arguments, pairs, tallies, trees


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


def message(name: str, parent: str | None, text: str = "", **more) -> dict:
    """A row with the columns of OASST1 that say anything here; p... asks, a... answers."""
    role = "prompter" if name.startswith("p") else "assistant"
    heeded = {"rank": None, "deleted": False, "review_result": True, "tree_state": "ready_for_export", "lang": "en"}
    return {"message_id": name, "parent_id": parent, "text": text or name, "role": role, **heeded, **more}


BEST = [
    message("p1", None, "What swims?"),
    message("a1", "p1", rank=2),
    message("a2", "p1", "A fish.", rank=0),
    message("a3", "p1", rank=1),
    message("p2", "a2", "never answered", rank=0),
    message("p3", "a2", "And what else?", rank=1),
    message("a4", "p3", "not ranked"),
    message("a5", "p3", "A whale.", rank=1),
    message("a6", "p3", "spam", rank=0, review_result=False),
    message("p4", "a5", "Thanks!"),
    message("p5", "a1", "of the third best"),
    message("a7", "p5", "a long way", rank=0),
]
SAID = ["What swims?", "A fish.", "And what else?", "A whale."]


def made(rows: list[dict]) -> list[tuple[list[str], str | None]]:
    return [
        ([one["content"] for one in row.get("messages", [])], fault) for row, fault in trees.conversations(rows, "x")
    ]


def test_the_best_path_is_the_conversation_in_whatever_order_the_rows_stand():
    assert made(BEST) == [(SAID, None)]
    for seed in range(20):
        rows = random.Random(seed).sample(BEST, len(BEST))
        assert made(rows) == [(SAID, None)]
    ((row, _),) = trees.conversations(BEST, "x")
    assert [one["role"] for one in row["messages"]] == ["user", "assistant"] * 2
    assert row["language"] == "en"


@pytest.mark.parametrize("order", [1, -1])
def test_of_replies_that_nobody_ranked_the_first_is_taken(order):
    rows = [message("p1", None), *[message("a1", "p1"), message("a2", "p1")][::order]]
    assert made(rows) == [(["p1", rows[1]["text"]], None)]


@pytest.mark.parametrize("ranks", [("1", "0"), (math.nan, 0.0), (None, 3), ("good", 0)])
def test_a_rank_is_a_number_however_it_is_written_and_what_is_none_comes_last(ranks):
    rows = [message("p1", None), *(message(f"a{n}", "p1", rank=rank) for n, rank in enumerate(ranks))]
    assert made(rows) == [(["p1", "a1"], None)]


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        ([message("p1", None)], ["unanswered"]),
        ([message("p1", None), message("a1", "p1", deleted=True)], ["unanswered"]),
        ([message("p1", None, deleted=True), message("a1", "p1")], ["deleted"]),
        ([message("p1", None, review_result=False), message("a1", "p1")], ["deleted"]),
        ([message("p1", None, tree_state="growing"), message("a1", "p1")], ["tree_state"]),
        ([message("a1", None), message("p1", "a1")], ["roles"]),
        ([message("p1", None), message("p2", "p1")], ["roles"]),
        ([message("p1", None), message("a1", "p1", rank=0), message("a2", "p1"), message("a3", "a2")], ["roles"]),
        ([message("p1", None), message("a1", "p1", role="system")], ["roles"]),
        ([message("p1", "gone"), message("a1", "p1")], ["parent_missing"]),
        ([message("a1", "gone"), message("a2", "gone")], ["parent_missing"] * 2),
        ([message("p1", "a1"), message("a1", "p1")], ["cycle"]),
        ([message("p1", "p1")], ["cycle"]),
        ([message("p2", "a2"), message("p1", "a1"), message("a1", "p1"), message("a2", "p1")], ["cycle"]),
        ([message("p1", "a1"), message("a1", "p1"), message("p2", "p2")], ["cycle"] * 2),
        ([message("p1", None), message("a1", "p1"), message("a1", "p1", "again")], ["message_id_twice", None]),
    ],
)
def test_what_is_no_tree_to_learn_from_has_its_reason(rows, faults):
    assert [fault for _, fault in made(rows)] == faults
    good = [
        one | {"message_id": one["message_id"] * 9, "parent_id": (one["parent_id"] or "") * 9 or None} for one in BEST
    ]
    assert (SAID, None) in made(rows + good)
    assert sorted(str(fault) for _, fault in made(rows + good)) == sorted(map(str, [*faults, None]))


def forest(count: int) -> list[dict]:
    languages = ("en", "en", "ru")
    return [
        message(f"{kind}{number}", parent and f"{parent}{number}", f"{kind} {number}", lang=languages[number % 3])
        for kind, parent in (("a", "p"), ("p", None))
        for number in range(count)
    ]


def write(tmp_path: Path, rows: list[dict], **keys) -> tuple[list[dict], dict]:
    files.write_jsonl(tmp_path / "oasst.jsonl", rows)
    arguments = Arguments(
        sources=["x"], source_paths=["x"], validation_share=0.2, conversations=[str(tmp_path / "oasst.jsonl")], **keys
    )
    pairs.ready(arguments)
    names, found = pairs.write(tmp_path / "m", arguments)
    return [row for name in names for row in files.read_jsonl(tmp_path / "m" / name)], tallies.told(found)[
        "conversations"
    ]


def test_trees_are_read_like_other_conversations(tmp_path):
    odd = [message("p", "gone"), message("p1", None)]
    written, told = write(tmp_path, forest(90) + odd)
    assert told["read"] == 92
    assert told["removed"] == {"parent_missing": 1, "message_id_twice": 1}
    assert len(written) == 90
    for row in written:
        asked, said = row["messages"]
        assert (row["source"], asked["role"], said["role"]) == ("oasst", "user", "assistant")
        assert said["content"] == asked["content"].replace("p", "a")


def test_conversations_of_another_language_are_left_out(tmp_path):
    written, told = write(tmp_path, forest(90), conversation_languages=["ru"])
    assert told["removed"]["conversation_languages"] == 60
    assert all(int(row["messages"][0]["content"][2:]) % 3 == 2 for row in written)
    assert written


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"message_id": "x", "parent_id": None, "text": "x"}, "row 1: need the columns .*, got no role"),
        ({"message_id": 5, "parent_id": None, "text": "x", "role": "prompter"}, "need a string as message_id, got 5"),
        ({"message_id": "x", "parent_id": ["y"], "text": "x", "role": "prompter"}, "need a string as parent_id"),
    ],
)
def test_rows_of_another_form_are_named(tmp_path, row, problem):
    with pytest.raises(ValueError, match=problem):
        write(tmp_path, [row])
