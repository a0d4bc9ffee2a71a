"""A corpus of sums: what is written in each style, and that nothing leaks, not by turning a sum round either."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from datasets import disable_progress_bars, enable_progress_bars

from arith_hf import corpus, files, notation, tokenizer
from arith_hf.__main__ import main
from arith_hf.corpus import draw
from arith_hf.corpus.addition import Arguments
from arith_hf.corpus.draw import split_of
from arith_hf.tasks import addition as task

SMALL = {
    "task": "addition",
    "num_pretrain": 400,
    "num_sft": 600,
    "num_prompts": 60,
    "num_validation": 60,
    "num_test": 80,
    "num_harder": 20,
    "min_digits": 2,
    "max_digits": 4,
    "harder": ["digits6", "cascades", "operands"],
    "num_proc": 1,
}
STYLES = {
    "addition/direct": {"style": "direct"},
    "addition/columns": {"style": "columns"},
    "addition/reversed/zero_pad=3/align=1": {"style": "reversed", "zero_pad": 3, "align": 1},
}
TRAINED = ["pretrain/train", "sft/train", "prompts/train"]
HELDOUT = ["pretrain/validation", "sft/validation", "prompts/validation", "heldout/validation"]
HELDOUT += [f"heldout/{name}" for name in SMALL["harder"]]
TESTS = ["test/test", *(f"harder/{name}" for name in SMALL["harder"])]


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


@pytest.fixture(scope="module", params=STYLES)
def form(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def small(form, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sums") / "small"
    corpus.build(Arguments(output_dir=str(folder), **SMALL, **STYLES[form]))
    return folder


def rows(folder: Path, name: str) -> list[dict]:
    return list(files.read_jsonl(folder / f"{name}.jsonl"))


def written(folder: Path) -> dict[str, bytes]:
    """Every file but the one that tells of the run: when, where, how long."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def operands(form: str, row: dict) -> tuple[int, ...]:
    """Those of a row by size, read from what the model is given where the row says that."""
    given = row["text"][: row["given"]] if "text" in row else row.get("prompt")
    turn = -1 if given and "reversed" in form else 1
    numbers = (given or row["problem"]).removesuffix("=").split("+")
    return tuple(sorted(int(number[::turn]) for number in numbers))


def sums(form: str, folder: Path, names: list[str]) -> set[tuple[int, ...]]:
    return {operands(form, row) for name in names for row in rows(folder, name)}


def recipe(tmp_path: Path, **keys: object) -> list[str]:
    path = tmp_path / "corpus.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"output_dir": str(tmp_path / "out")} | keys))
    return ["corpus", "--config", str(path)]


# What is written


def test_every_row_and_the_manifest_name_the_form(form, small):
    manifest = files.read_json(small / "manifest.json")
    assert manifest["task"] == form == notation.of(form).name
    assert set(manifest["files"]) == {f"{name}.jsonl" for name in (*TRAINED, *HELDOUT, *TESTS, "whole/pairs")}
    for name in (*TRAINED, *HELDOUT, *TESTS, "whole/pairs"):
        found = rows(small, name)
        assert len(found) == manifest["files"][f"{name}.jsonl"]["rows"]
        assert name.startswith("pretrain/") or {row["task"] for row in found} == {form}


def test_every_row_is_what_it_says(form, small):
    for name in ("sft/train", "sft/validation", *HELDOUT[3:], *TESTS):
        for row in rows(small, name):
            numbers = operands(form, row)
            assert row["answer"] == str(sum(numbers)), "the right way round in every style"
            assert row["level"] == max(len(str(number)) for number in numbers)
            assert (row["steps"], row["carries"]) == (row["level"], task.carries(row["expression"]))
            assert row["kind"] == "valid"
            if "completion" in row:
                assert row["completion"] == row["solution"]
                assert str(notation.of(form).read_answer(row["completion"])) == row["answer"]
                assert row["completion"].startswith("<think>") == ("columns" in form)
                assert row["split"] == name.split("/")[1]


def test_a_text_is_a_prompt_and_its_completion(form, small):
    for row in rows(small, "pretrain/train"):
        prompt, completion = row["text"][: row["given"]], row["text"][row["given"] :]
        assert prompt.endswith("=")
        assert completion == notation.of(form).solution(prompt)
        assert (row["source"], row["ends"]) == ("trace", True)


def test_the_reversed_style_is_lowest_digit_first_and_padded_as_asked(tmp_path):
    keys = SMALL | {"max_digits": 5, "num_prompts": 0, "num_harder": 0, "style": "reversed", "align": 1, "zero_pad": 3}
    corpus.build(Arguments(output_dir=str(tmp_path), **keys))
    for row in rows(tmp_path, "sft/train"):
        numbers = row["expression"].removesuffix("=").split("+")
        width = max(3, *map(len, numbers))
        assert row["prompt"] == "+".join(number.zfill(width)[::-1] for number in numbers) + "="
        assert row["completion"] == row["answer"].zfill(4)[::-1]


def test_lengths_are_even_between_their_bounds(form, small):
    def lengths(name: str) -> Counter:
        return Counter(len(str(operands(form, row)[-1])) for row in rows(small, name))

    for name in ("sft/train", "pretrain/train"):
        found = lengths(name)
        assert sorted(found) == [2, 3, 4]
        assert all(count / found.total() == pytest.approx(1 / 3, abs=0.07) for count in found.values())
    assert set(lengths("test/test")) == set(lengths("heldout/validation")) == {2, 3, 4}


def test_harder_sets_are_what_their_names_say(form, small):
    for folder in ("harder", "heldout"):
        found = {name: rows(small, f"{folder}/{name}") for name in SMALL["harder"]}
        numbers = {name: [row["expression"].removesuffix("=").split("+") for row in found[name]] for name in found}
        assert {len(number) for several in numbers["digits6"] for number in several} == {6}
        assert {len(several) for several in numbers["operands"]} == {3, 4, 5}
        assert {len(several) for name in ("digits6", "cascades") for several in numbers[name]} == {2}
        assert all(row["carries"] for row in found["cascades"])
        assert max(row["carries"] for row in found["cascades"]) == 4
        for name in found:
            assert len(sums(form, small, [f"{folder}/{name}"])) == 20, "no repeats, not turned round either"


def test_cascades_are_a_share_of_the_training_rows(tmp_path):
    keys = SMALL | {"num_pretrain": 0, "num_prompts": 0, "num_harder": 0}
    means = []
    for rate in (0.0, 1.0):
        corpus.build(Arguments(output_dir=str(tmp_path), carry_rate=rate, **keys))
        found = [row["carries"] for row in rows(tmp_path, "sft/train")]
        means.append(sum(found) / len(found))
        assert (min(found) > 0) == bool(rate)
    assert means[1] > 1.3 * means[0]


# No leak


def test_no_sum_is_in_two_splits_not_turned_round_either(form, small):
    train, validation, test = (sums(form, small, names) for names in (TRAINED, HELDOUT, TESTS))
    assert min(map(len, (train, validation, test))) > 100
    assert not (train & validation | train & test | validation & test)
    assert set(files.read_json(small / "manifest.json")["overlap"].values()) == {0}


def test_the_proof_sees_a_sum_turned_round(tmp_path):
    for split, prompt in (("train", "12+3="), ("validation", "3+12=")):
        files.write_jsonl(tmp_path / "sft" / f"{split}.jsonl", [{"prompt": prompt, "completion": "15"}])
    found = corpus.census.take(tmp_path, ["sft/train.jsonl", "sft/validation.jsonl"], "addition/direct")
    assert found["overlap"] == {"train and validation": 1, "train and test": 0, "validation and test": 0}


def test_the_pairs_are_all_there_are_and_say_their_split(form, small):
    pairs = rows(small, "whole/pairs")
    every = [(int(one), int(other)) for one, other in (row["problem"].removesuffix("=").split("+") for row in pairs)]
    assert sorted(every) == [(one, other) for one in range(100) for other in range(100)]
    kinds = {}
    for (one, other), row in zip(every, pairs, strict=True):
        assert (row["answer"], row["kind"]) == (str(one + other), split_of(task.normalise(row["expression"])))
        assert kinds.setdefault(tuple(sorted((one, other))), row["kind"]) == row["kind"], "as turned round"
    shares = Counter(row["kind"] for row in pairs)
    assert shares["train"] / 10_000 == pytest.approx(0.8, abs=0.02)
    assert shares["validation"] / 10_000 == pytest.approx(0.1, abs=0.02)
    trained, tested = sums(form, small, TRAINED), sums(form, small, TESTS)
    assert {kinds[pair] for pair in trained & kinds.keys()} == {"train"}
    assert {kinds[pair] for pair in tested & kinds.keys()} == {"test"}


def test_the_pairs_are_left_out_where_no_number_of_two_digits_is_trained_on(tmp_path):
    keys = SMALL | {"num_prompts": 0, "harder": ["none"], "min_digits": 3}
    manifest = corpus.build(Arguments(output_dir=str(tmp_path), **keys))
    assert not [name for name in manifest["files"] if name.startswith(("whole", "harder"))]


def test_an_old_set_of_pairs_goes_with_its_corpus(tmp_path):
    keys = SMALL | {"num_prompts": 0, "harder": ["none"]}
    corpus.build(Arguments(output_dir=str(tmp_path), **keys))
    assert (tmp_path / "whole" / "pairs.jsonl").is_file()
    corpus.build(Arguments(output_dir=str(tmp_path), **keys | {"min_digits": 3}))
    assert not (tmp_path / "whole" / "pairs.jsonl").exists()


# The same again


def test_another_seed_draws_other_training_rows_and_the_same_tests(form, small, tmp_path):
    corpus.build(Arguments(output_dir=str(tmp_path), seed=1, **SMALL, **STYLES[form]))
    for name in TRAINED:
        assert rows(small, name) != rows(tmp_path, name)
    for name in (*TESTS, *HELDOUT[3:], "whole/pairs"):
        assert rows(small, name) == rows(tmp_path, name)
    train = sums(form, small, TRAINED) | sums(form, tmp_path, TRAINED)
    assert not train & (sums(form, small, TESTS) | sums(form, small, HELDOUT))


def test_the_same_bytes_for_any_number_of_workers(form, small, tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "WORTH", 100)  # or so few rows would get one worker
    corpus.build(Arguments(output_dir=str(tmp_path / "small"), **SMALL | {"num_proc": 2}, **STYLES[form]))
    assert written(small) == written(tmp_path / "small")


def test_the_card_lists_what_is_there(form, small):
    head, _, body = (small / "README.md").read_text().removeprefix("---\n").partition("---\n")
    configs = [config["config_name"] for config in yaml.safe_load(head)["configs"]]
    assert configs == ["pretrain", "sft", "prompts", "heldout", "test", "harder", "whole"]
    assert f"`task`: `{form}`" in body


# Workings of one length


def test_workings_have_one_length_in_tokens(tmp_path):
    keys = {**SMALL, "max_digits": 3, "harder": ["cascades"], "think_length": 24}
    manifest = corpus.build(Arguments(output_dir=str(tmp_path), **keys))
    assert manifest["task"] == "addition/columns/think_length=24"
    known = tokenizer.train("char", task=manifest["task"])
    opens, closes = (known.convert_tokens_to_ids(tag) for tag in ("<think>", "</think>"))
    lengths = Counter()
    for text in (row["text"] for row in rows(tmp_path, "pretrain/train")):
        ids = known(text)["input_ids"]
        lengths[ids.index(closes) - ids.index(opens) - 1] += 1
    assert lengths == {24: 400}
    assert known.unk_token_id not in ids


def test_a_working_too_long_for_its_length_is_one_line(tmp_path, capsys):
    assert main(recipe(tmp_path, style="columns", think_length=9)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "need a working of at most 9 tokens" in line
    assert line.endswith("raise think_length")
    assert not (tmp_path / "out" / "manifest.json").exists()


# Mistakes


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"max_digit": 3}, "unknown key `max_digit`: did you mean `max_digits`?"),
        ({"max_depth": 3}, "unknown key `max_depth`"),
        ({"num_range": [1, 9]}, "unknown key `num_range`"),
        ({"style": "rows"}, "need style one of direct, columns, reversed, got 'rows'"),
        ({"zero_pad": -1}, "need 0 <= zero_pad <= 1000, got -1"),
        ({"align": 2}, "need align 0 or 1, got 2"),
        ({"think_length": 9, "style": "direct"}, "need style columns for think_length, got direct"),
        ({"min_digits": 0}, "need min_digits >= 1, got 0"),
        ({"min_digits": 1, "max_digits": 0}, "need max_digits >= 1, got 0"),
        ({"max_operands": 1}, "need max_operands >= 2, got 1"),
        ({"carry_rate": 1.5}, "need carry_rate and run_rate of at least 0, at most 1 in all, got"),
        ({"harder": ["nosuch"]}, "need harder among digits4, digits6,"),
        ({"harder": ["depth5"]}, "got depth5"),
        ({"task": "multiplication"}, "unknown task 'multiplication': need one of expression, addition"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(keys, said, tmp_path, capsys):
    assert main(recipe(tmp_path, **keys)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("arith-hf corpus: ")
    assert said in line
    assert not (tmp_path / "out").exists(), "nothing is written, so nothing older is lost"


@pytest.mark.parametrize("key", ["max_digits", "style", "carry_rate", "think_length"])
def test_keys_of_sums_are_unknown_to_expressions(key, tmp_path, capsys):
    assert main(["corpus", "--output_dir", str(tmp_path / "out"), f"--{key}", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"unknown key `{key}`" in line
    assert main(["corpus", "--output_dir", str(tmp_path / "out"), "--task=addition", "--max_depth", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown key `max_depth`" in line


def test_the_task_may_stand_on_the_command_line(tmp_path):
    less = ["--num_pretrain=2", "--num_sft=0", "--num_prompts=0", "--num_validation=2", "--num_test=0"]
    less += ["--num_harder=0", "--max_digits=3", "--output_dir", str(tmp_path)]
    assert main(["corpus", *less, "--task", "addition"]) == 0
    manifest = files.read_json(tmp_path / "manifest.json")
    assert (manifest["task"], manifest["recipe"]["max_digits"]) == ("addition/columns", 3)
