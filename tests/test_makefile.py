"""The graph: a finished chain is left as it is, and what was edited while a stage ran is seen."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import stage

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def finished(road: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished chain with its Makefile, from the corpus to the evaluation of its one model."""
    root = tmp_path_factory.mktemp("finished")
    for name in ("recipes/tiny", "data/tiny", "checkpoints/tiny/tokenizer", "checkpoints/tiny/pretrain"):
        shutil.copytree(road / name, root / name)  # with their times
    for name in ("sft", "lora", "dpo", "grpo"):
        (root / f"recipes/tiny/{name}.yaml").unlink()
    shutil.copy(REPOSITORY / "Makefile", root)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    assert stage(root, "evaluate", "--checkpoint", str(root / "checkpoints/tiny/pretrain")) == 0
    return root


@pytest.fixture
def chain(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "chain"))


def due(root: Path) -> list[str]:
    """The verbs that make would run."""
    done = subprocess.run(
        ["make", "-n", "evaluate", "MODEL=tiny"], cwd=root, capture_output=True, text=True, check=True, env=plain()
    )
    verbs = ("corpus", "tokenizer", "pretrain", "evaluate")
    return [verb for line in done.stdout.splitlines() for verb in verbs if f" {verb} --config" in line]


def plain() -> dict[str, str]:
    """Without what a make around the tests would hand on."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}


@pytest.mark.parametrize("name", ["dpo", "fetch", "continue"])
def test_a_stage_that_a_model_has_no_recipe_for_is_named_with_those_it_has(chain, name):
    done = subprocess.run(["make", name, "MODEL=tiny"], cwd=chain, capture_output=True, text=True, env=plain())
    assert done.returncode == 2
    assert f"no recipe at recipes/tiny/{name}.yaml: tiny has " in done.stdout
    assert "pretrain" in done.stdout


@pytest.mark.parametrize(
    ("name", "mark", "beside", "again"),
    [
        ("corpus", "data/tiny/manifest.json", "facts.txt", ["corpus", "tokenizer", "pretrain", "evaluate"]),
        (
            "tokenizer",
            "checkpoints/tiny/tokenizer/metrics.json",
            "tokenizer.json",
            ["tokenizer", "pretrain", "evaluate"],
        ),
        ("pretrain", "checkpoints/tiny/pretrain/metrics.json", "model.safetensors", ["pretrain", "evaluate"]),
        ("evaluate", "checkpoints/tiny/pretrain/evaluate.json", "samples.jsonl", ["evaluate"]),
    ],
)
def test_a_recipe_that_was_edited_while_its_stage_ran_is_newer(chain, name, mark, beside, again):
    assert due(chain) == []
    started = (chain / mark).stat().st_mtime_ns
    assert started + 1 < (chain / mark).with_name(beside).stat().st_mtime_ns, "which was written while it ran"
    os.utime(chain / f"recipes/tiny/{name}.yaml", ns=(started + 1, started + 1))
    assert due(chain) == again
