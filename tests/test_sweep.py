"""Runs of a grid are launched here in this process, but for one."""

import doctest
import json
import shutil
from pathlib import Path

import pytest

from arith_hf import files, sweep
from arith_hf.__main__ import main

ROOT = Path(__file__).parent.parent
GRID = ("--learning_rate", "1e-3,1e-2", "--per_device_train_batch_size", "2,4")


@pytest.fixture
def launched(monkeypatch) -> list[str]:
    """The folders of the runs that were launched, in this process."""
    found: list[str] = []

    def launch(words: list[str]) -> int:
        found.append(Path(words[-1]).name)
        return main(words[words.index("arith_hf") + 1 :])

    monkeypatch.setattr(sweep, "launch", launch)
    return found


@pytest.fixture
def grid(road, tmp_path):
    """Recipes, data and tokenizer of the road, to sweep over."""
    for name in ("recipes/tiny", "data/tiny", "checkpoints/tiny/tokenizer"):
        shutil.copytree(road / name, tmp_path / name)
    shutil.copytree(ROOT / "recipes/accelerate", tmp_path / "recipes/accelerate")
    return tmp_path


def call(root: Path, *more: str, stage: str = "pretrain") -> int:
    return main(["sweep", "--config", str(root / f"recipes/tiny/{stage}.yaml"), *more])


def test_examples():
    assert doctest.testmod(sweep).failed == 0


def test_a_grid_is_run_sorted_and_kept(grid, launched, capsys):
    assert call(grid, *GRID, "--num_eval_generations=0", "--seed", "3") == 0
    folder = grid / "checkpoints/tiny/sweep/pretrain"
    names = [f"learning_rate={a},per_device_train_batch_size={b}" for a in ("1e-3", "1e-2") for b in "24"]
    assert launched == names
    said = capsys.readouterr().out.strip().splitlines()
    told = files.read_json(folder / "sweep.json")
    assert json.loads(said[-1]) == told
    assert (told["stage"], told["metric"], told["greater_is_better"]) == ("pretrain", "eval_loss", False)
    values = [row["value"] for row in told["runs"]]
    assert values == sorted(values)
    assert len(set(values)) == 4, "each run learned something else"
    for row in told["runs"]:
        metrics = files.read_json(Path(row["folder"]) / "metrics.json")
        assert row["value"] == metrics["eval_loss"]
        recipe = (Path(row["folder"]) / "recipe.yaml").read_text()
        assert float(row["values"]["learning_rate"]) == float(recipe.split("learning_rate: ")[-1].split()[0])
        assert "seed: 3" in recipe
    launched.clear()
    assert call(grid, *GRID, "--num_eval_generations=0", "--seed", "3") == 0
    assert launched == [], "finished ones are skipped"
    assert files.read_json(folder / "sweep.json") == told
    (folder / names[2] / "metrics.json").unlink()  # as if it was killed behind step 2
    shutil.rmtree(folder / names[2] / "checkpoint-4")
    assert call(grid, *GRID, "--num_eval_generations=0", "--seed", "3") == 0
    assert launched == [names[2]]
    assert files.read_json(folder / names[2] / "metrics.json")["resumed_from"].endswith("checkpoint-2")
    assert [row["value"] for row in files.read_json(folder / "sweep.json")["runs"]] == values


def test_what_is_not_what_was_asked_for_is_run_again(grid, launched):
    more = ("--max_steps", "1", "--num_eval_generations", "0", "--eval_steps", "1")
    assert call(grid, "--learning_rate", "1e-3,1e-2", *more) == 0
    launched.clear()
    assert call(grid, "--learning_rate", "1e-2,1e-1", *more) == 0
    assert launched == ["learning_rate=1e-1"]
    launched.clear()
    assert call(grid, "--learning_rate", "1e-2,1e-1", *more, "--seed", "1") == 0
    assert launched == ["learning_rate=1e-2", "learning_rate=1e-1"], "with another key"
    launched.clear()
    path = grid / "recipes/tiny/pretrain.yaml"
    path.write_text(path.read_text())
    assert call(grid, "--learning_rate", "1e-2,1e-1", *more, "--seed", "1") == 0
    assert len(launched) == 2, "by an edited recipe"


def test_a_run_that_fails_is_last_and_the_others_are_made(grid, monkeypatch, capsys):
    def launch(words: list[str]) -> int:
        return 1 if "1e-3" in words else main(words[words.index("arith_hf") + 1 :])

    monkeypatch.setattr(sweep, "launch", launch)
    more = ("--max_steps", "1", "--num_eval_generations", "0", "--eval_steps", "1")
    assert call(grid, "--learning_rate", "1e-3,1e-2", *more) == 1
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert [(row["values"]["learning_rate"], row["status"]) for row in told["runs"]] == [("1e-2", 0), ("1e-3", 1)]
    assert told["runs"][1]["value"] is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "need a key with several values"),
        (["--learning_rate", "1e-3,many"], "learning_rate=many: argument --learning_rate"),
        (["--learnin_rate", "1,2"], "unknown key `learnin_rate`: did you mean `learning_rate`?"),
        (["--max_steps", "1,1"], "max_steps: need each value once and none empty, got 1,1"),
        (["--max_steps", "1,"], "none empty"),
        (["--run_name", "a b,a/b"], "would be written to the same folder"),
        (["--seed", "1,2", "--eval_strategy", "no"], "need eval_strategy steps or epoch"),
        (["--seed", "1,2", "--verb", "corpus"], "--verb"),
        (["--seed", "1,2", "--launch_config", "none.yaml"], "no launch configuration at none.yaml"),
    ],
)
def test_what_cannot_be_is_an_error_before_anything_runs(grid, launched, capsys, more, said):
    assert call(grid, *more) == 2
    assert said in capsys.readouterr().err
    assert launched == []
    assert not (grid / "checkpoints/tiny/sweep").exists()


@pytest.mark.parametrize("said", [None, "NaN", "Infinity"])
def test_what_is_no_finite_number_is_no_value(tmp_path, said):
    files.write_json(tmp_path / "metrics.json", {"best_step": said, "steps": 3})
    run = sweep.Run({}, tmp_path, [])
    assert sweep.result(run, "best_step", 0)["value"] is None


def test_which_is_best(tmp_path):
    rows = [("a", 1.0), ("b", None), ("c", 3.0)]
    for greater, best in ((False, "acb"), (True, "cab")):
        assert "".join(name for name, _ in sorted(rows, key=lambda row: sweep.order(row[1], greater))) == best


@pytest.mark.parametrize(("stage", "verb"), [("continue", "pretrain"), ("lora", "sft"), ("grpo", "grpo")])
def test_the_verb_follows_from_the_name_of_the_recipe(grid, stage, verb):
    path = grid / f"recipes/tiny/{stage}.yaml"
    path.touch()
    own, _ = sweep.read(["--config", str(path)])
    assert own.verb == verb
    assert own.output_dir == grid / "checkpoints/tiny/sweep" / stage


@pytest.mark.slow
def test_runs_are_launched_as_the_makefile_does(grid):
    more = ("--max_steps", "1", "--num_eval_generations", "0", "--eval_steps", "1")
    assert call(grid, "--learning_rate", "1e-3,1e-2", *more) == 0
    told = files.read_json(grid / "checkpoints/tiny/sweep/pretrain/sweep.json")
    assert [row["status"] for row in told["runs"]] == [0, 0]
