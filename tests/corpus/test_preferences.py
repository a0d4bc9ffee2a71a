"""Pairs of a sound working and one with a single wrong step."""

import random

import pytest
from datasets import disable_progress_bars, enable_progress_bars
from hypothesis import given
from hypothesis import strategies as st

from arith_hf import corpus, files, notation, tasks
from arith_hf.corpus import addition, expression, preferences
from arith_hf.corpus.draw import split_of
from arith_hf.corruption import room

seeds = st.integers(0, 10**9)
FEW = {"num_pretrain": 0, "num_sft": 8, "num_prompts": 0, "num_validation": 6, "num_test": 6, "num_harder": 0}
RECIPES = {
    "expression": expression.Arguments(max_depth=3, typed_rate=0.3),
    "addition/columns": addition.Arguments(task="addition", max_digits=5, max_operands=3, carry_rate=0.3),
    "addition/columns/zero_pad=6": addition.Arguments(task="addition", max_digits=5, zero_pad=6),
}


@pytest.fixture(autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


def drawn(form: str, seed: object, split: str = "train") -> dict:
    recipe = RECIPES[form]
    return corpus.room(recipe.task).ROWS["preferences"](random.Random(f"{seed}"), split, recipe)


@pytest.mark.parametrize("form", RECIPES)
@given(seed=seeds, split=st.sampled_from(["train", "validation", "test"]))
def test_of_a_pair_one_is_sound_and_the_other_but_for_one_step(form: str, seed: int, split: str) -> None:
    row, task, written = drawn(form, seed, split), tasks.get(form), notation.of(form)
    problem = written.posed(row["prompt"])
    assert split_of(task.normalise(problem)) == split
    assert row["chosen"] == written.solution(row["prompt"]) != row["rejected"]
    fault = task.judge(problem, written.read_working(row["rejected"]), written.read_answer(row["rejected"]))
    assert (fault.kind, fault.index + 1) == (row["kind"], row["step"])
    steps = written.read_working(row["rejected"]).steps
    valid = task.valid_steps(problem, steps)
    assert valid.index(False) == fault.index
    begun, shared = row["step"] - 1, written.read_working(row["chosen"]).steps
    assert steps[:begun] == shared[:begun], "what stands before it is the same"
    if row["kind"] not in ("dropped", "repeated"):
        assert valid.count(False) == 1, "what stands behind it follows from it"
        if form == "expression":
            assert str(task.work(steps[begun].expression).answer) == str(written.read_answer(row["rejected"]))


@pytest.mark.parametrize("form", RECIPES)
def test_every_kind_of_step_is_spoilt_about_as_often_and_anywhere(form: str) -> None:
    rows = [drawn(form, index) for index in range(300)]
    kinds = [row["kind"] for row in rows]
    assert {*kinds} == {*room(RECIPES[form].task).STEPS}
    assert min(map(kinds.count, {*kinds})) > 10
    assert len({row["step"] for row in rows}) > 3


def test_a_corpus_with_pairs_is_the_one_without_and_its_pairs(tmp_path) -> None:
    def build(name: str, **more: int) -> dict[str, bytes]:
        corpus.build(expression.Arguments(output_dir=str(tmp_path / name), num_proc=1, max_depth=2, **FEW, **more))
        return {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file() and path.name != "provenance.json"
        }

    plain, paired = build("plain"), build("paired", num_preferences=20)
    pairs = {f"preferences/{split}.jsonl" for split in ("train", "validation")} | {"test/preferences.jsonl"}
    assert {*paired} - {*plain} == pairs
    assert {name for name in plain if plain[name] != paired[name]} == {"manifest.json", "README.md", "facts.txt"}
    assert b"preferences" not in plain["manifest.json"] + plain["README.md"]
    manifest = files.read_json(tmp_path / "paired/manifest.json")
    assert {name: manifest["files"][name]["rows"] for name in pairs} == {
        "preferences/train.jsonl": 20,
        "preferences/validation.jsonl": 6,
        "test/preferences.jsonl": 6,
    }
    assert manifest["files"]["test/preferences.jsonl"]["distinct"] == 6
    assert not any(manifest["overlap"].values())
    assert set(next(files.read_jsonl(tmp_path / "paired/preferences/train.jsonl"))) == {
        *("prompt", "chosen", "rejected", "task", "level", "kind", "step")
    }
    assert b"`rejected`" in paired["README.md"]
    again = build("again", num_preferences=20, seed=1)
    assert again["test/preferences.jsonl"] == paired["test/preferences.jsonl"]
    assert again["preferences/train.jsonl"] != paired["preferences/train.jsonl"]


def test_what_has_no_step_to_be_spoilt_is_said() -> None:
    with pytest.raises(ValueError, match="need style columns for num_preferences, got direct"):
        addition.Arguments(task="addition", style="direct", num_preferences=1)
    bare = expression.Arguments(sampler="seed")
    with pytest.raises(ValueError, match="found no problem with a step to be spoilt"):
        preferences.row(random.Random(0), lambda: "7", bare)


def test_a_chosen_working_that_is_not_sound_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferences, "is_alone", lambda *_: True)
    monkeypatch.setattr(preferences, "judged", lambda *_: "a fault")
    with pytest.raises(RuntimeError, match="is not sound"):
        preferences.row(random.Random(0), lambda: "1 + 2", RECIPES["expression"])
