"""The protocols: which sets there are, and which of their problems are taken."""

from pathlib import Path

import pytest

from arith_hf import files, protocols, tasks


def test_every_harder_set_is_a_protocol() -> None:
    every = [name for task in tasks.TASKS.values() for name in task.HARDER]
    assert len(every) == len(set(every)), "two tasks would share a protocol"
    assert list(protocols.chosen(["seed", "harder", "seed"], None, Path("nowhere"))) == ["seed", *every]
    assert all(protocols.PROTOCOLS[name].file == f"harder/{name}.jsonl" for name in every)


def test_a_subset_is_spread_and_always_the_same() -> None:
    rows = [{"index": index} for index in range(1000)]
    chosen = protocols.choose(rows, 100)
    assert chosen == protocols.choose(rows, 100)
    indices = [one["index"] for one in chosen]
    assert indices == sorted(set(indices))
    assert indices[-1] > 900
    assert protocols.choose(rows, None) == protocols.choose(rows, 5000) == rows


def test_hints_are_left_out_for_want_of_them_unless_they_are_all_that_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files.write_jsonl(tmp_path / "test" / "nontrivial.jsonl", [{}])
    assert list(protocols.chosen(["nontrivial", "hints"], None, tmp_path)) == ["nontrivial"]
    assert "hints: left out, for want of" in capsys.readouterr().err
    assert list(protocols.chosen(["hints"], None, tmp_path)) == ["hints"], "which is an error where it is read"
    files.write_jsonl(tmp_path / "harder" / "hints.jsonl", [{}])
    assert protocols.chosen(["nontrivial", "hints"], [5, 3], tmp_path) == {"nontrivial": 5, "hints": 3}
    assert "hints" not in protocols.TOGETHER["harder"]
