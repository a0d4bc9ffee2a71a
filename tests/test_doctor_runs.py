"""The doctor on real runs of GRPO: each was made to have one fault, and that is named; in the healthy one none is."""

import re
import shutil
from dataclasses import dataclass, field

import planted
import pytest
from planted import SUMS, rows, run, solved, teach

from arith_hf import doctor, files, notation

DIRECT, COLUMNS = "addition/direct", "addition/columns"
FEW, KNOWN = SUMS[::2], SUMS[:20]
FAR = [f"{a}+{b}=" for a in range(30, 50, 5) for b in range(31, 81, 10)]
WORDY = notation.of("addition/columns/think_length=24")

PARENTS = {  # what each is taught
    "sloppy": lambda path: teach(path, DIRECT, [*solved(DIRECT), *padded()], least=0.97, sure=200),
    "sure": lambda path: teach(path, DIRECT, solved(DIRECT, KNOWN), sure=500),
    "endless": lambda path: teach(path, DIRECT, solved(DIRECT), least=0.97, ends=False),
    "wordy": lambda path: teach(path, COLUMNS, filled(), sure=100),
    "hasty": lambda path: teach(path, COLUMNS, [*solved(COLUMNS, FEW), *hurried()], sure=100),
}


def padded():
    """Answers with a zero too many, which no reader takes."""
    return [(prompt, f"0{rest}") for prompt, rest in solved(DIRECT)]


def filled():
    """Right workings with much filling behind them."""
    return [(prompt, WORDY.solution(prompt)) for prompt in FEW]


def hurried():
    """Right answers behind no working."""
    return [(prompt, f"<think></think>{rest.rpartition('>')[2]}") for prompt, rest in solved(COLUMNS, FEW)]


@dataclass(frozen=True)
class Plant:
    """A parent, problems and keys that make a fault; what else is found is true as well, and follows from it."""

    parent: str = "sloppy"
    problems: list = field(default_factory=lambda: rows(DIRECT))
    keys: dict = field(default_factory=dict)
    besides: frozenset = frozenset()
    unrecorded: bool = True  # whether the log alone tells it


def plant(parent="sloppy", problems=None, besides=(), unrecorded=True, **keys):
    return Plant(parent, problems or rows(DIRECT), keys, frozenset(besides), unrecorded)


PLANTS = {
    "healthy": plant(),
    "too-easy": plant("sure", rows(DIRECT, KNOWN), learning_rate=1e-4),
    "too-hard": plant("sure", rows(DIRECT, FAR)),
    "uneven": plant("sure", rows(DIRECT, KNOWN + FAR), learning_rate=1e-4),
    "truncation": plant("wordy", rows(COLUMNS, FEW), max_completion_length=15, learning_rate=1e-4),
    "no-end-token": plant("endless", unrecorded=False),
    "blind-reward": plant(
        reward_funcs="arith_hf.rewards.coin", besides=["learning-rate-too-high", "flat"], unrecorded=False
    ),
    "lying-reward": plant(reward_funcs="planted.length", besides=["blind-reward", "no-end-token"]),
    "entropy-collapse": plant(
        reward_funcs="planted.constant", learning_rate=2e-3, besides=["blind-reward", "lying-reward"]
    ),
    "learning-rate-too-small": plant(learning_rate=1e-9),
    "learning-rate-too-high": plant(learning_rate=3e-3, besides=["no-end-token", "truncation", "entropy-collapse"]),
    "kl-runaway": plant(
        learning_rate=5e-3, beta=0.001, besides=["learning-rate-too-high", "no-end-token", "truncation"]
    ),
    "unfaithful": plant(
        "hasty", rows(COLUMNS, FEW), reward_funcs="planted.brevity", besides=["lying-reward"], unrecorded=False
    ),
    "not-finite": plant(
        reward_funcs="planted.boundless",
        **{"max_steps": 4, "steps_per_generation": 4, "save_steps": 4, "eval_strategy": "no"},
        besides=["blind-reward"],
    ),
}
QUICK = ("healthy", "learning-rate-too-small")
SLOW = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PLANTS]


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """A folder by name, each parent taught when first asked for."""
    root, made = tmp_path_factory.mktemp("parents"), {}

    def parent(name):
        if name not in made:
            made[name] = PARENTS[name](root / name)
        return made[name]

    return parent


@pytest.fixture(scope="module")
def runs(parents, tmp_path_factory):
    """The folder of each planted run, run when first asked for."""
    root, made = tmp_path_factory.mktemp("runs"), {}

    def planted_run(name):
        if name not in made:
            one = PLANTS[name]
            made[name] = run(parents(one.parent), root / name, one.problems, **one.keys)
        return made[name]

    return planted_run


def named(report):
    return {one["name"] for one in report["findings"]}


def test_every_fault_has_a_run_that_was_made_to_have_it():
    assert PLANTS.keys() - {"healthy"} == doctor.FAULTS.keys()


@pytest.mark.parametrize("name", SLOW)
def test_the_planted_fault_is_named_and_nothing_that_is_not_there(runs, name):
    report = doctor.diagnose(runs(name))
    wanted = set() if name == "healthy" else {name}
    assert wanted <= named(report) <= wanted | PLANTS[name].besides, doctor.as_text(report)
    for one in report["findings"]:
        assert re.search("[0-9]", one["evidence"])
        assert "their default" not in one["remedy"]


@pytest.mark.parametrize("name", SLOW)
def test_without_rollouts_it_judges_by_the_log_and_says_what_it_could_not_see(runs, name, tmp_path):
    folder = tmp_path / "grpo"
    shutil.copytree(runs(name), folder, ignore=shutil.ignore_patterns("rollouts"))
    report, one = doctor.diagnose(folder), PLANTS[name]
    wanted = {name} if one.unrecorded and name != "healthy" else set()
    ends = {"no-end-token", "truncation"}  # which of the two it is only the rollouts tell
    allowed = wanted | one.besides | (ends if ends & {name, *one.besides} else set())
    assert wanted <= named(report) <= allowed, doctor.as_text(report)
    assert "record_rollouts: true" in report["unseen"]["blind-reward"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "problems"), [("too-hard", FAR), ("uneven", KNOWN + FAR)])
def test_rollouts_that_stop_at_their_fault_hide_nothing(parents, tmp_path, name, problems):
    folder = run(parents("sure"), tmp_path / "grpo", rows(DIRECT, problems), learning_rate=1e-4, stop_at_fault=True)
    stopped = [row for row in doctor.read(folder).rollouts if not (row["finished"] or row["truncated"])]
    assert len(stopped) > 500, "the key did what it does"
    assert named(doctor.diagnose(folder)) == {name}
    shutil.rmtree(folder / "rollouts")
    assert named(doctor.diagnose(folder)) == {name}


def test_the_healthy_run_is_one(runs):
    report = doctor.diagnose(runs("healthy"))
    first, last = report["figures"]["held-out accuracy (eval_exact_match)"]
    assert last > first + 0.05
    assert set(report["unseen"]) == {"kl-runaway"}
    assert "\nno fault found; 13 of 14 could be judged: no not-finite" in doctor.as_text(report)


def test_what_it_tells_of_a_learning_rate_is_in_the_recipe(runs):
    (found,) = doctor.diagnose(runs("learning-rate-too-small"))["findings"]
    assert "learning_rate (now 1e-09)" in found["remedy"]
    assert re.search(r"40 updates changed the weights by [0-9.]+e-0[678] of their size", found["evidence"])


def test_a_parent_that_was_made_anew_is_not_compared_with(runs, parents, tmp_path):
    folder, parent = tmp_path / "grpo", tmp_path / "parent"
    shutil.copytree(runs("healthy"), folder)
    shutil.copytree(parents("sloppy"), parent)
    proof = files.read_json(folder / "provenance.json")
    files.write_json(folder / "provenance.json", proof | {"parent": str(parent)})
    assert doctor.diagnose(folder)["weights_moved"] == doctor.diagnose(runs("healthy"))["weights_moved"] > 0.01
    files.write_json(folder / "provenance.json", proof | {"parent": str(parent), "parent_sha256": "0" * 64})
    assert "was made anew" in doctor.read(folder).unmoved
    shutil.rmtree(parent)
    assert doctor.read(folder).unmoved == "its parent is not here"


def test_an_unfinished_run_is_judged_by_its_newest_step_checkpoint(runs, tmp_path):
    folder = tmp_path / "grpo"
    shutil.copytree(runs("learning-rate-too-small"), folder)
    for name in ("metrics.json", "trainer_state.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
    report = doctor.diagnose(folder)
    assert named(report) == {"learning-rate-too-small"}
    assert "40 updates so far" in doctor.as_text(report)


def test_rewards_of_the_plants_pay_what_they_say():
    assert planted.length(["12", ""]) == [0.2, 0.0]
    assert planted.brevity(["<think></think>8"], ["9"], [COLUMNS]) == [0.0]
