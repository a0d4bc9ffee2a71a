"""The ablations: every arm that is listed can be made, arms share what is equal, budgets and schedules fit."""

import doctest
import json
from pathlib import Path

import pytest
import yaml

from arith_hf import recipe
from arith_hf.corpus.expression import Arguments as CorpusArguments
from arith_hf.model import ArithConfig
from arith_hf.tokenizer import TokenizerArguments
from benchmarks import ablations, speedrun

ROOT = Path(__file__).parent.parent
ARMS = ablations.read_arms(ablations.ARMS)


def bench(config: Path, folder: Path) -> ablations.Bench:
    return ablations.Bench(
        ["--config", str(config), "--use_cpu", "true", "--report_to", "none"], folder, {"steps": 1}, 9
    )


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_arm_of_the_recipe_of_record_parses(arm, tmp_path):
    made = bench(ROOT / "recipes/expression/pretrain.yaml", tmp_path)
    drawn, cut, _ = made.data(arm)
    recipe.read((CorpusArguments,), ablations.tokens(drawn), "corpus")
    recipe.read((TokenizerArguments,), ablations.tokens(cut), "tokenizer")
    argv = [*made.argv(arm), *ablations.schedule(made.argv(arm), 1000)]
    own, training = speedrun.understood(argv)
    assert training.max_steps == 1000
    fields = json.loads(own.config_overrides)
    assert ArithConfig.from_size(own.size, **{"line_token_ids": [0]} | fields)
    assert arm.model.items() <= fields.items()


def test_the_first_arm_changes_nothing_and_every_other_something(tmp_path):
    made = bench(ROOT / "recipes/expression/pretrain.yaml", tmp_path)
    base, *others = (json.dumps(made.identity(arm)) for arm in ARMS)
    assert ARMS[0].name == "base"
    assert base not in others
    assert len({base, *others}) == len(ARMS)


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(ablations).failed == 0


def test_the_phases_of_a_schedule_keep_their_share(tmp_path):
    path = tmp_path / "recipes/m/pretrain.yaml"
    path.parent.mkdir(parents=True)
    keys = {
        "max_steps": 1000,
        "warmup_steps": 100,
        "lr_scheduler_kwargs": {"num_decay_steps": 400, "min_lr_ratio": 0.1},
    }
    path.write_text(yaml.safe_dump(keys | {"lr_scheduler_type": "warmup_stable_decay"}))
    argv = bench(path, tmp_path).rest
    _, training = speedrun.understood([*argv, *ablations.schedule(argv, 250)])
    assert (training.max_steps, training.warmup_steps) == (250, 25)
    assert training.lr_scheduler_kwargs == {"num_decay_steps": 100, "min_lr_ratio": 0.1}
    path.write_text("num_train_epochs: 1\n")
    with pytest.raises(SystemExit, match="need max_steps"):
        ablations.schedule(argv, 250)


def test_arms_are_trained_compared_and_kept(road, tmp_path, capsys, monkeypatch):
    listed = tmp_path / "arms.yaml"
    arms = [
        {"name": "base", "what": "the recipe"},
        {
            "name": "other",
            "what": "characters, none",
            "tokenizer": {"kind": "char", "places": 1},
            "model": {"position_embedding": "none", "line_stride": None},
        },
    ]
    arms[1]["pretrain"] = {"overlong": "drop"}
    listed.write_text(yaml.safe_dump(arms))
    monkeypatch.setitem(ablations.SMALL, "num_test", 12)
    monkeypatch.setattr(ablations, "SKIPPED", 1)
    monkeypatch.setattr(ablations, "TIMED", 2)
    argv = ["--config", str(road / "recipes/tiny/pretrain.yaml"), "--arms", str(listed), "--seeds", "1"]
    argv += ["--seconds", "0.2", "--num_pretrain", "200"]
    ablations.main(argv)
    printed = capsys.readouterr().out
    base, other = json.loads(printed.splitlines()[-1])["rows"]
    assert base["n"] == other["n"] == 12
    assert other["parameters"] != base["parameters"]
    assert base["steps"] >= 1
    assert "| other | characters, none |" in printed
    monkeypatch.setattr(ablations.clock, "prepare", None)  # nothing may be run again
    ablations.main(argv)
    ablations.main([*argv, "--only_table"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == [base, other]
    with pytest.raises(TypeError):  # another budget: it would run
        ablations.main([*argv[:-4], "--steps", "1", "--only", "base", "--num_pretrain", "200"])


def test_what_cannot_run_is_refused_in_a_line(tmp_path):
    config = ["--config", str(tmp_path / "recipes/m/pretrain.yaml")]
    with pytest.raises(SystemExit, match="no arm nothing"):
        ablations.main([*config, "--only", "nothing"])
    with pytest.raises(SystemExit, match="need seeds, seconds and steps"):
        ablations.main([*config, "--seconds", "0"])
    wrong = tmp_path / "arms.yaml"
    wrong.write_text("- {name: base, what: a, corpora: {}}\n")
    with pytest.raises(ValueError, match="corpora"):
        ablations.read_arms(wrong)
    wrong.write_text("- {name: base, what: a}\n- {name: base, what: b}\n")
    with pytest.raises(ValueError, match="twice"):
        ablations.read_arms(wrong)
