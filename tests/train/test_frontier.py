import random
import shutil

import pytest
from conftest import stage
from datasets import Dataset

from arith_hf import files
from arith_hf.train.frontier import LEAST, Frontier, places_of


def test_prompts_come_from_where_the_model_is_right_now_and_then():
    frontier = Frontier()
    frontier.learn(["1"] * 200, [1.0] * 200)
    frontier.learn(["2"] * 200, [1.0, 0.0] * 100)
    frontier.learn(["3"] * 200, [0.0] * 200)
    places = {"1": [0, 1, 2], "2": [3, 4, 5], "3": [6, 7, 8]}
    drawn = [frontier.draw(random.Random(index), places) for index in range(1000)]
    shares = [sum(place // 3 == level for place in drawn) / 1000 for level in range(3)]
    assert shares[1] > 0.8
    assert 0 < shares[0] < 0.15
    assert 0 < shares[2] < 0.15


def test_a_rate_follows_the_model():
    frontier = Frontier()
    frontier.learn(["5"] * 1000, [0.0] * 1000)
    assert frontier.weight("5") == LEAST
    frontier.learn(["5"] * 128, [1.0, 0.0] * 64)
    assert frontier.weight("5") > 0.15  # a thousand failures do not outweigh what was seen last


def test_the_state_is_that_of_the_rates():
    frontier = Frontier()
    frontier.learn(["5", "6"], [0.0, 1.0])
    assert Frontier.from_state(frontier.state()).rates == frontier.rates


def test_places_by_value():
    rows = Dataset.from_list([{"prompt": "a", "steps": 3}, {"prompt": "b", "steps": 12}, {"prompt": "c", "steps": 3}])
    assert places_of(rows, "steps") == {"3": [0, 2], "12": [1]}
    with pytest.raises(ValueError, match="need sample_by among the prompts' columns prompt, steps, got depth"):
        places_of(rows, "depth")


def test_a_reward_that_counts_no_success_cannot_choose_prompts(road, tmp_path, capsys):
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path / "grpo")]
    assert stage(road, "grpo", *more, "--sample_by", "level", "--reward_funcs", "conftest.length_reward") == 1
    assert "need a first reward function that pays 0 or 1 for sample_by" in capsys.readouterr().err


def test_an_unknown_column_stops_before_anything_is_written(road, tmp_path, capsys):
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path / "grpo")]
    assert stage(road, "grpo", *more, "--sample_by", "depth") == 2
    assert "need sample_by among the prompts' columns" in capsys.readouterr().err
    assert not (tmp_path / "grpo" / "recipe.yaml").exists()


@pytest.mark.slow
def test_a_resumed_run_draws_what_an_unbroken_one_draws(road, tmp_path):
    """Rates are kept in the step checkpoint: the same prompts, so the same weights."""
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--sample_by", "level"]
    more = [*parent, "--reward_funcs", "conftest.odd_reward", "--load_best_model_at_end", "false"]
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert stage(road, "grpo", *more, "--output_dir", str(unbroken)) == 0
    assert stage(road, "grpo", *more, "--output_dir", str(broken)) == 0
    known = files.read_json(broken / "checkpoint-2" / "trainer_state.json")["stateful_callbacks"]["Frontier"]
    assert known["attributes"]["rates"]
    shutil.rmtree(broken / "checkpoint-4")
    again = [*more, "--output_dir", str(broken), "--resume_from_checkpoint", str(broken / "checkpoint-2")]
    assert stage(road, "grpo", *again) == 0
    weights = [files.read_json(folder / "metrics.json")["weights"] for folder in (unbroken, broken)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_groups_are_counted(road, tmp_path):
    """A model that is never right: all groups are all wrong, and no group is all right."""
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path)]
    assert stage(road, "grpo", *more, "--max_steps", "2") == 0
    history = files.read_json(tmp_path / "checkpoint-2" / "trainer_state.json")["log_history"]
    logged = [row for row in history if "groups/all_wrong" in row]
    assert logged
    assert all(row["groups/all_wrong"] == 1.0 and row["groups/all_right"] == 0.0 for row in logged)
