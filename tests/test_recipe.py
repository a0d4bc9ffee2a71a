import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from arith_hf import recipe


@dataclass
class Arguments:
    output_dir: str = ""
    dataset_name: str = ""
    model_name_or_path: str = ""
    learning_rate: float = field(default=1e-3)
    num_range: list[int] = field(default_factory=lambda: [1, 20])
    bf16: bool = True
    options: str | None = None
    max_steps: int = -1
    share: int = 1

    def __post_init__(self) -> None:
        self.shares = 10 // self.share


def write(tmp_path: Path, text: str, name: str = "recipes/tiny/sft.yaml") -> str:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def read(tmp_path: Path, text: str, *more: str) -> Arguments:
    return recipe.read((Arguments,), ["--config", write(tmp_path, text), *more], "sft")[0]


def test_types_come_from_the_dataclass(tmp_path):
    got = read(tmp_path, 'learning_rate: 1e-4\nnum_range: [-3, 7]\nbf16: false\noptions: {"a": 1}\nmax_steps: -1\n')
    assert (got.learning_rate, got.num_range, got.bf16, got.options, got.max_steps) == (
        1e-4,
        [-3, 7],
        False,
        '{"a": 1}',
        -1,
    )


def test_command_line_overrides_file(tmp_path):
    got = read(tmp_path, "learning_rate: 0.1\nnum_range: [1, 2]\n", "--learning_rate", "0.2", "--num_range", "3", "4")
    assert (got.learning_rate, got.num_range) == (0.2, [3, 4])


def test_places_follow_from_the_path(tmp_path):
    got = read(tmp_path, "")
    assert got.output_dir == str(tmp_path / "checkpoints/tiny/sft")
    assert got.dataset_name == str(tmp_path / "data/tiny")
    assert got.model_name_or_path == str(tmp_path / "checkpoints/tiny/pretrain")
    assert read(tmp_path, "output_dir: elsewhere\n").output_dir == "elsewhere"


def test_a_second_phase_starts_from_the_first_and_what_follows_from_the_second(tmp_path):
    recipes, checkpoints = tmp_path / "recipes/tiny", tmp_path / "checkpoints/tiny"

    def parent(stage: str, verb: str) -> str | None:
        return recipe.places(recipes / f"{stage}.yaml", verb).get("model_name_or_path")

    assert parent("pretrain", "pretrain") is None
    assert parent("continue", "pretrain") == parent("sft", "sft") == str(checkpoints / "pretrain")
    recipes.mkdir(parents=True)
    (recipes / "continue.yaml").touch()
    assert parent("pretrain", "pretrain") is None
    assert parent("continue", "pretrain") == str(checkpoints / "pretrain")
    assert parent("sft", "sft") == parent("lora", "sft") == str(checkpoints / "continue")
    assert parent("dpo", "dpo") == str(checkpoints / "sft")


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("learning_rte: 1\n", [], "unknown key `learning_rte`: did you mean `learning_rate`?"),
        ("learning: 1\n", [], "unknown key `learning`"),  # no abbreviations
        ("", ["--max_step", "3"], "unknown key `max_step`: did you mean `max_steps`?"),
        ("", ["3"], "do not know what to do with `3`"),
        ("max_steps: many\n", [], "invalid int value: 'many'"),
        ("max_steps: 1\nmax_steps: 2\n", [], "key `max_steps` stands twice"),
        ("max_steps: [1\n", [], "not YAML"),
        ("- 1\n", [], "need `key: value` lines, got list"),
        ("bf16: maybe\n", [], "maybe"),
        ("dataset_name: [a, b]\n", [], "need one value for `dataset_name`, got a list of 2"),
        ("bf16: [true, false]\n", [], "need one value for `bf16`, got a list of 2"),
        ("share: 0\n", [], "need more than 0 for share"),
        ("", ["--config", "other.yaml"], "need --config once, got it twice"),
        ("", ["--config=other.yaml"], "need --config once, got it twice"),
    ],
)
def test_mistakes_are_named(tmp_path, text, more, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        read(tmp_path, text, *more)
    if text:
        assert "sft.yaml" in str(error.value)


def test_a_missing_recipe_is_named():
    with pytest.raises(FileNotFoundError, match=re.escape("no recipe at recipes/none/sft.yaml")):
        recipe.read((Arguments,), ["--config", "recipes/none/sft.yaml"], "sft")


def test_explicit_holds_what_was_said(tmp_path):
    argv = ["--config", write(tmp_path, "learning_rate: 0.1\n"), "--max-steps=5"]
    instances = recipe.read((Arguments,), argv, "sft")
    said = recipe.explicit(instances, argv, "sft")
    assert said["learning_rate"] == 0.1
    assert said["max_steps"] == 5
    assert "bf16" not in said
