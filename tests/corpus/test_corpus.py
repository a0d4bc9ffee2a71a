"""The corpus stage as a whole: what is written, and that nothing leaks."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from datasets import disable_progress_bars, enable_progress_bars, load_dataset

from arith_hf import corpus, files
from arith_hf.corpus.draw import split_of
from arith_hf.corpus.expression import Arguments as CorpusArguments
from arith_hf.notation import expression as notation
from arith_hf.tasks import expression as task

HARDER = [f"harder/{name}" for name in task.HARDER]
HELDOUT = ["heldout/validation", "heldout/invalid", *(f"heldout/{name}" for name in task.HARDER)]
HINTS = ["harder/hints", "heldout/hints"]
SMALL = {
    "num_pretrain": 300,
    "num_sft": 400,
    "num_prompts": 40,
    "num_validation": 60,
    "num_test": 60,
    "num_harder": 20,
    "segment_rate": 0.2,
    "segment_facts": 0.3,
    "excerpt_rate": 0.15,
    "verdict_rate": 0.15,
    "drill_rate": 0.25,
    "typed_rate": 0.2,
    "invalid_rate": 0.25,
    "num_proc": 1,
}


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "small"
    corpus.build(CorpusArguments(output_dir=str(folder), **SMALL))
    return folder


def rows(folder: Path, name: str) -> list[dict]:
    return list(files.read_jsonl(folder / f"{name}.jsonl"))


def written(folder: Path) -> dict[str, bytes]:
    """Every file but the one that tells of the run: when, where, how long."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def forms(folder: Path, split: str) -> set[str]:
    """Normal forms of all problems in the files of a split."""
    names = ["test/seed", "test/nontrivial", "test/invalid", *HARDER, "harder/hints"]
    if split != "test":
        names = [f"{part}/{split}" for part in ("pretrain", "sft", "prompts")]
        names += [*HELDOUT, "heldout/hints"] if split == "validation" else []
    texts = [row.get("text") or row.get("problem") or row["prompt"] for name in names for row in rows(folder, name)]
    return {task.normalise(notation.posed(text)) for text in texts}


def test_every_file_has_its_rows_and_columns(small):
    described = {"expression", "problem", "solution", "answer", "task", "level", "steps", "kind", "split"}
    tested = {"problem", "expression", "answer", "task", "level", "steps", "kind"}
    asked = {"prompt", "answer", "task", "level", "steps", "kind"}
    columns = {
        "pretrain": {"text", "source", "given", "ends"},
        "sft": {"prompt", "completion"} | described,
        "prompts": asked,
    }
    manifest = files.read_json(small / "manifest.json")
    sizes = {name.removesuffix(".jsonl"): counts["rows"] for name, counts in manifest["files"].items()}
    assert sizes == {
        "pretrain/train": 300,
        "pretrain/validation": 60,
        "sft/train": 400,
        "sft/validation": 60,
        "prompts/train": 40,
        "prompts/validation": 60,
        "heldout/validation": 60,
        "heldout/invalid": 60,
        **dict.fromkeys(HELDOUT[2:], 20),
        "test/invalid": 60,
        "test/nontrivial": 60,
        "test/seed": 60,
        **dict.fromkeys([*HARDER, *HINTS], 20),
    }
    for name, size in sizes.items():
        assert len(rows(small, name)) == size
        hint = {"hint"} if name in HINTS else set()
        assert all(set(row) == columns.get(name.split("/")[0], tested | hint) for row in rows(small, name))


def test_every_row_is_what_it_says(small):
    for name in ("sft/train", "sft/validation", "test/seed", "test/nontrivial", "test/invalid", *HARDER, *HELDOUT):
        for row in rows(small, name):
            working = task.work(row["expression"])
            assert row["problem"] == notation.problem(row["expression"])
            assert (row["answer"], row["steps"]) == (str(working.answer), len(working.steps))
            assert (row["level"], row["kind"]) == (task.level(row["expression"]), task.kind(row["expression"]))
            assert (row["kind"] == "invalid") == (row["answer"] == "ERROR")
            if "completion" in row:
                assert row["prompt"] == row["problem"] + "\n"
                assert row["completion"] == row["solution"] == notation.completion(working)
                assert row["split"] == name.split("/")[1]


def test_a_trace_is_a_prompt_and_its_completion_with_one_think(small):
    traces = [row["text"] for row in rows(small, "pretrain/train") if row["source"] == "trace"]
    assert traces
    for text in traces:
        expression = notation.posed(text)
        assert text == notation.ask(expression) + notation.completion(task.work(expression))
        assert text.count("<think>") == 1


def test_segments_and_drills_are_true(small):
    for row in rows(small, "pretrain/train"):
        assert row["ends"] == ("Final Result: " in row["text"])
        given, learned = row["text"][: row["given"]], row["text"][row["given"] :]
        if row["source"] == "drill":
            assert given.startswith("\nStep ")
            fact = given.partition(": ")[2].removesuffix(" = ")
            assert learned == f"{task.work(fact).answer}\nExpression now: "
        if row["source"] == "segment":
            head = notation.posed(row["text"])
            lines = [line for line in row["text"].split("\n") if line.startswith("Step ") and " = " in line]
            steps = task.work(head).steps[: len(lines)]
            assert 1 <= len(lines) <= 2
            assert row["text"].startswith((f"Evaluate: {head}\n<think>\nStep 1: ", f"\nExpression now: {head}\nStep "))
            number = int(lines[0].split(":")[0].removeprefix("Step "))
            assert notation.step_lines(steps, number) in row["text"]
    found = [row["text"] for row in rows(small, "pretrain/train") if row["source"] == "segment"]
    alone = [text for text in found if re.match(r"\nExpression now: -?[0-9]+ [+-] -?[0-9]+\nStep ", text)]
    assert len(alone) / len(found) == pytest.approx(0.35, abs=0.2), "and some that are two steps before the end"
    assert any(int(number) > 20 for text in alone for number in re.findall(r"[0-9]+", notation.posed(text)))
    assert all(text.split("\n")[-1].startswith("Final Result: ") for text in alone)


def test_excerpts_are_steps_in_lines_that_are_no_expressions(small):
    found = [row for row in rows(small, "pretrain/train") if row["source"] == "excerpt"]
    for row in found:
        before = notation.posed(row["text"])
        assert task.kind(before) == "invalid"
        given = row["text"][: row["given"]]
        assert given.startswith("Evaluate: ") == given.endswith("<think>\nStep 1: ")
        for line in row["text"].split("\n"):
            if line.startswith("Step ") and " = " in line:
                fact, _, result = line.partition(": ")[2].partition(" = ")
                assert int(result) == task.work(fact).answer
                operation, after = f"({fact})", before.replace(f"({fact})", result, 1)
                assert ")" not in before[: before.index(operation)]  # the one due
            if line.startswith("Expression now: ") and "Step" in row["text"].split(line)[0]:
                assert line == f"Expression now: {after}"
                before = after
    assert {row["text"].startswith("Evaluate: ") for row in found} == {True, False}


def test_verdicts_are_first_operations_or_errors(small):
    found = [row for row in rows(small, "pretrain/train") if row["source"] == "verdict"]
    kinds = Counter(task.kind(notation.posed(row["text"])) for row in found)
    assert min(kinds["valid"], kinds["invalid"]) > 0.3 * len(found)
    for row in found:
        right = notation.completion(task.work(notation.posed(row["text"])))
        learned = row["text"][row["given"] :]
        assert right.startswith(learned)
        assert row["ends"] == (learned == right)
        assert row["ends"] or learned.endswith(" = ")
    assert any("(((((" in row["text"] for row in found)


def test_no_problem_is_in_two_splits_whatever_the_seed(small, tmp_path):
    corpus.build(CorpusArguments(output_dir=str(tmp_path), seed=1, sampler="seed", **SMALL))
    train, validation, test = (
        forms(small, split) | forms(tmp_path, split) for split in ("train", "validation", "test")
    )
    assert not (train & validation | train & test | validation & test)
    assert all(split_of(form) == "train" for form in train)
    assert set(files.read_json(small / "manifest.json")["overlap"].values()) == {0}
    # Another seed draws other training rows, and the same tests.
    for name in ("pretrain/train", "sft/train", "prompts/train"):
        assert rows(small, name) != rows(tmp_path, name)
    for name in ("test/seed", "test/nontrivial", "test/invalid", *HARDER, *HELDOUT):
        assert rows(small, name) == rows(tmp_path, name)


def test_the_proof_reads_what_is_written(small):
    moved = (small / "sft" / "validation.jsonl").read_text().splitlines()[0]
    path = small / "sft" / "train.jsonl"
    before = path.read_text()
    try:
        path.write_text(before + moved + "\n")
        found = corpus.census.take(small, ["sft/train.jsonl", "sft/validation.jsonl"], "expression")
    finally:
        path.write_text(before)
    assert found["overlap"] == {"train and validation": 1, "train and test": 0, "validation and test": 0}
    assert found["files"]["sft/train.jsonl"]["rows"] == 401


def test_a_leak_leaves_the_corpus_unfinished(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus.expression.rows, "split_of", lambda form: "train" if form != "1" else "test")
    monkeypatch.setattr(corpus.expression.rows, "pose", lambda rng, split, recipe, **knobs: "1 + 1")
    little = {"num_pretrain": 0, "num_sft": 2, "num_prompts": 0, "num_test": 0, "num_harder": 0, "num_proc": 1}
    with pytest.raises(RuntimeError, match="splits share problems"):
        corpus.build(CorpusArguments(output_dir=str(tmp_path), **little))
    assert not (tmp_path / "manifest.json").exists()


def test_the_same_bytes_for_any_number_of_workers(small, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus.draw, "WORTH", 100)  # or so few rows are drawn by one worker
    corpus.build(CorpusArguments(output_dir=str(tmp_path / "small"), **SMALL | {"num_proc": 2}))
    assert written(small) == written(tmp_path / "small")


def test_a_longer_file_begins_with_the_shorter_one(small, tmp_path):
    corpus.build(CorpusArguments(output_dir=str(tmp_path), **SMALL | {"num_sft": 450}))
    assert rows(tmp_path, "sft/train")[:400] == rows(small, "sft/train")


def test_rates_are_shares_of_rows(tmp_path):
    recipe = {"num_pretrain": 2000, "num_sft": 2000, "num_prompts": 0, "num_test": 0, "num_harder": 0, "num_proc": 1}
    shares = {"invalid_rate": 0.05, "sampler": "seed", "typed_rate": 0, "segment_rate": 0.2, "drill_rate": 0.5}
    manifest = corpus.build(CorpusArguments(output_dir=str(tmp_path), **recipe, **shares))
    counts = manifest["files"]["sft/train.jsonl"]
    assert counts["invalid"] / 2000 == pytest.approx(0.05, abs=0.015)
    # The seed sampler keeps its bare numbers although a split holds few of them.
    assert counts["bare_numbers"] / (2000 - counts["invalid"]) == pytest.approx(0.3, abs=0.04)
    validation = manifest["files"]["sft/validation.jsonl"]
    assert validation["bare_numbers"] / (1000 - validation["invalid"]) == pytest.approx(0.3, abs=0.05)
    sources = manifest["files"]["pretrain/train.jsonl"]["sources"]
    assert sources["drill"] / 2000 == pytest.approx(0.5, abs=0.04)
    assert sources["segment"] / 2000 == pytest.approx(0.2, abs=0.04)
    traces = [row["text"] for row in rows(tmp_path, "pretrain/train") if row["source"] == "trace"]
    assert sum("ERROR" in text for text in traces) / len(traces) == pytest.approx(0.05, abs=0.03)


def test_test_sets_are_what_their_names_say(small):
    assert len({task.normalise(row["expression"]) for row in rows(small, "test/nontrivial")}) == 60
    assert len({row["expression"] for row in rows(small, "test/invalid")}) == 60
    assert all(row["steps"] for row in rows(small, "test/nontrivial"))
    assert all(row["kind"] == "invalid" for row in rows(small, "test/invalid"))
    plain = rows(small, "test/seed")
    assert len({row["expression"] for row in plain}) < 60
    assert 8 <= sum(row["level"] == 0 for row in plain) <= 30


@pytest.mark.parametrize("folder", ["harder", "heldout"])
def test_harder_sets_are_what_their_names_say(small, folder):
    sets = {name: rows(small, f"{folder}/{name}") for name in task.HARDER}
    for drawn in sets.values():
        assert len({task.normalise(row["expression"]) for row in drawn}) == 20
        assert all(row["steps"] and row["kind"] == "valid" for row in drawn)
    for depth in (5, 6, 8):
        assert {row["level"] for row in sets[f"depth{depth}"]} == {depth}
    numbers = {
        name: [int(number) for row in drawn for number in re.findall(r"(?<![\d)])-?\d+", row["expression"])]
        for name, drawn in sets.items()
    }
    assert 90 < max(numbers["numbers99"]) <= 99
    assert 900 < max(numbers["numbers999"]) <= 999
    assert all(max(found) <= 20 for name, found in numbers.items() if not name.startswith("numbers"))
    assert all(min(found) >= 1 for name, found in numbers.items() if name != "negatives")
    assert not any("(" in row["expression"] for row in sets["chains"])
    assert {row["steps"] for row in sets["chains"]} == {2, 3, 4, 5, 6, 7}
    assert all("(" in row["expression"] for row in sets["groups"])
    assert all(row["level"] <= 4 for name in ("numbers99", "numbers999", "negatives") for row in sets[name])
    signs = [number < 0 for number in numbers["negatives"]]
    assert sum(signs) / len(signs) == pytest.approx(0.55, abs=0.15)
    assert {row["steps"] for row in sets["operators"]} == {9, 10, 11}
    assert len({row["level"] for row in sets["operators"]}) > 2


@pytest.mark.parametrize("name", HINTS)
def test_hints_are_wrong_and_of_each_kind_in_turn(small, name):
    asked = rows(small, name)
    assert [row["kind"] for row in asked] == ["off1", "off2", "off5", "off10", "random"] * 4
    for row in asked:
        working = task.work(row["expression"])
        assert (row["answer"], row["problem"]) == (str(working.answer), notation.problem(row["expression"]))
        off = abs(int(row["hint"]) - working.answer)
        reach = sum(map(int, re.findall(r"\d+", row["expression"]))) + 1
        assert off == int(row["kind"].removeprefix("off")) if row["kind"] != "random" else off > 0
        assert abs(int(row["hint"])) <= reach or row["kind"] != "random"
    signs = {int(row["hint"]) > int(row["answer"]) for row in asked}
    assert signs == {True, False}


def test_sets_with_hints_change_no_other_file(small, tmp_path):
    corpus.build(CorpusArguments(output_dir=str(tmp_path / "without"), harder=list(task.HARDER), **SMALL))
    with_hints, without = written(small), written(tmp_path / "without")
    assert set(with_hints) - set(without) == {f"{name}.jsonl" for name in HINTS}
    for told in ("manifest.json", "README.md"):  # which list the files
        assert with_hints.pop(told) != without.pop(told)
    assert {name: with_hints[name] for name in without} == without


def test_harder_sets_are_chosen_by_name(tmp_path):
    few = {"num_pretrain": 0, "num_prompts": 0, "num_test": 0, "num_harder": 3, "num_validation": 0, "num_sft": 2}
    corpus.build(CorpusArguments(output_dir=str(tmp_path), num_proc=1, harder=["chains", "depth8"], **few))
    assert sorted(path.stem for path in (tmp_path / "harder").glob("*")) == ["chains", "depth8"]


def test_the_facts_are_those_of_the_training_rows(small):
    manifest, facts = files.read_json(small / "manifest.json"), (small / "facts.txt").read_text().splitlines()
    assert manifest["facts"] == {"distinct": len(facts), "sha256": files.sha256(small / "facts.txt")}
    assert facts == sorted(set(facts))
    steps = {
        f"{step.left} {step.operator} {step.right}"
        for row in rows(small, "sft/train")
        for step in task.work(row["expression"]).steps
    }
    drills = [row["text"] for row in rows(small, "pretrain/train") if row["source"] == "drill"]
    steps |= {notation.posed(text) for text in drills}
    asked = [task.work(notation.posed(row["prompt"])) for row in rows(small, "prompts/train")]
    steps |= {f"{step.left} {step.operator} {step.right}" for working in asked for step in working.steps}
    assert steps < set(facts), "segments and whole traces have others"


def test_load_dataset_reads_the_folder(small, tmp_path):
    kept = {"cache_dir": str(tmp_path)}
    assert load_dataset(str(small), "sft", split="validation", **kept).num_rows == 60
    assert load_dataset(str(small), "test", split="nontrivial", **kept)[0]["answer"].lstrip("-").isdigit()
    assert set(load_dataset(str(small), "pretrain", **kept)) == {"train", "validation"}
    head = yaml.safe_load((small / "README.md").read_text().split("---\n")[1])
    assert [config["config_name"] for config in head["configs"]] == [
        *["pretrain", "sft", "prompts", "heldout", "test", "harder"]
    ]


def test_an_old_manifest_goes_first_and_old_files_with_it(tmp_path, monkeypatch):
    files.write_json(tmp_path / "manifest.json", {"tokenizer_fingerprint": "old"})
    files.write_jsonl(tmp_path / "prompts" / "train.jsonl", [{"old": True}])
    with pytest.raises(
        ValueError, match="found no valid problem in the test split with depth 0 to 1 and numbers 1 to 1"
    ):
        corpus.build(CorpusArguments(output_dir=str(tmp_path), max_depth=1, num_range=[1, 1], num_test=5, num_proc=1))
    assert len(list(tmp_path.rglob("*.json*"))) == 2, "sets that cannot be drawn cost nothing"
    none = {"num_test": 0, "num_harder": 0, "num_pretrain": 0, "num_prompts": 0, "num_sft": 4, "num_proc": 1}
    monkeypatch.setattr(corpus.expression.rows, "describe", broken)
    for _ in range(2):  # an interrupted corpus may be made again
        with pytest.raises(RuntimeError, match="in the middle"):
            corpus.build(CorpusArguments(output_dir=str(tmp_path), **none))
        assert [path.name for path in tmp_path.rglob("*.json*")] == ["provenance.json"]
        files.write_jsonl(tmp_path / "prompts" / "train.jsonl", [{"half": True}])
        files.write_text(tmp_path / "prompts" / ".train.jsonl.7.part", "of a run that was killed")


@pytest.mark.parametrize("name", ["README.md", "facts.txt", "manifest.json", "provenance.json", "test/mine.jsonl"])
def test_files_of_another_are_not_replaced(tmp_path, name):
    files.write_text(tmp_path / name, '{"mine": true}\n')
    with pytest.raises(ValueError, match=f"{name} would be replaced, and is of no corpus of ours: name another"):
        corpus.build(CorpusArguments(output_dir=str(tmp_path), num_proc=1))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == '{"mine": true}\n'


def broken(*_: object) -> dict:
    raise RuntimeError("in the middle")


def test_more_distinct_problems_than_there_are_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"test/nontrivial: need 60 distinct problems, found \d+ in 6000 draws: ask for"
    ):
        corpus.build(CorpusArguments(output_dir=str(tmp_path), max_depth=1, num_range=[1, 9], num_test=60))


def test_an_error_in_a_worker_stays_one_line(tmp_path):
    few = {"num_pretrain": 0, "num_prompts": 0, "num_test": 0, "num_harder": 0, "num_validation": 0, "num_sft": 20}
    recipe = CorpusArguments(output_dir=str(tmp_path), typed_rate=0, num_proc=2, **few)
    recipe.max_depth, recipe.min_depth, recipe.num_range = 0, 0, [6, 6]  # only the number 6, which is a test
    with pytest.raises(ValueError, match="found no valid problem in the train split"):
        corpus.build(recipe)


def test_the_command_writes_nothing_into_the_home(tmp_path):
    """The real command line, in a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    sizes = [f"--{key}={SMALL[key]}" for key in SMALL if key != "num_proc"]
    done = subprocess.run(
        [sys.executable, "-m", "arith_hf", "corpus", "--output_dir", str(tmp_path / "out"), "--num_proc=2", *sizes],
        env=os.environ | {"HOME": str(home), "HF_HOME": str(home / "hf"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Problems shared between splits: train and validation 0" in done.stdout
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert not list(home.rglob("*"))
