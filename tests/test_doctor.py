"""The doctor on figures made up to be near its thresholds, and its command; test_doctor_runs.py has real runs."""

import contextlib
import dataclasses
import json
import random
import re
import statistics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trl import GRPOConfig

from arith_hf import doctor, files
from arith_hf.__main__ import main
from arith_hf.corpus.arguments import CorpusArguments
from arith_hf.doctor.history import History, counted, scattered, thirds
from arith_hf.doctor.reading import READ, read, read_rollouts
from arith_hf.doctor.verdict import Finding, Unseen
from arith_hf.train.grpo import GrpoArguments

UPDATES, GROUP = 30, 4
STEP = "<think>3+5=8</think>"


def line(step, share):
    """A log line of update `step`, `share` of the run being over: one that is well, and not quite smooth."""
    wobble = 0.02 * (-1) ** step
    return {
        **{
            "step": step,
            "loss": 0.0,
            "grad_norm": 1.0,
            "reward": 0.5 + 0.3 * share + wobble,
            "entropy": 0.5 - 0.2 * share,
        },
        **{"completions/clipped_ratio": 0.0, "groups/all_right": 0.2, "groups/all_wrong": 0.1},
    }


def log(accuracy=lambda share: 0.5 + 0.4 * share, updates=UPDATES, **curves):
    """A log of so many updates; each of `curves` is a function of the share of the run that is over."""
    rows = []
    for step in range(1, updates + 1):
        share = (step - 1) / (updates - 1)
        rows.append(line(step, share) | {key.replace("__", "/"): curve(share) for key, curve in curves.items()})
        if step % 3 == 0 and accuracy:
            rows.append({"step": step, "eval_exact_match": accuracy(share)})
    return rows


def rollouts(
    right=lambda share, group, index: index % 2 == 0, updates=UPDATES, pay=lambda right, share: float(right), **columns
):
    """Recorded rows: 4 groups of 4 an update; each of `columns` is a function of the share of the run that is over."""
    rows = []
    for step in range(updates):
        share = step / (updates - 1)
        for group, index in ((group, index) for group in range(4) for index in range(GROUP)):
            good = right(share, group, index)
            row = {"step": step, "group": group, "task": "addition/columns", "completion": f"{STEP}8", "right": good}
            row |= {"fault": None, "finished": True, "truncated": False, "num_tokens": 12, "reward": pay(good, share)}
            rows.append(row | {key: column(share) for key, column in columns.items()})
    return rows


def history(**given):
    return History(**{"log": log(), "rollouts": rollouts(), "updates": UPDATES, "moved": 0.01} | given)


def named(one):
    return {name for name, verdict in doctor.examine(one).items() if isinstance(verdict, Finding)}


def unseen(one):
    return {name: verdict.reason for name, verdict in doctor.examine(one).items() if isinstance(verdict, Unseen)}


def test_a_run_that_is_well_has_no_fault():
    assert named(history()) == named(history(rollouts=[])) == set()
    assert set(unseen(history())) == {"kl-runaway"}


ALL_RIGHT, ALL_WRONG = rollouts(lambda *_: True), rollouts(lambda *_: False)
CUT = {"finished": lambda _: False, "truncated": lambda _: True, "num_tokens": lambda _: 8}
FAULTY = {  # name -> (figures that have it, figures beside them that have it not yet)
    "too-easy": ({"rollouts": ALL_RIGHT}, {"rollouts": rollouts(lambda _, group, index: group < 3 or index % 2 == 0)}),
    "too-hard": ({"rollouts": ALL_WRONG}, {"rollouts": rollouts(lambda share, *_: share > 0.6)}),
    "uneven": (
        {"rollouts": rollouts(lambda _, group, index: group < 2)},
        {"rollouts": rollouts(lambda _, group, index: group < 2 if group else index % 2 == 0)},
    ),
    "truncation": (
        {"rollouts": rollouts(**CUT, fault=lambda _: "cut", completion=lambda _: "<think>3+")},
        {"rollouts": rollouts(finished=lambda share: share > 0.6)},
    ),
    "no-end-token": (
        {"rollouts": rollouts(**CUT, completion=lambda _: f"{STEP}8=8=8=8")},
        {"rollouts": rollouts(**CUT, fault=lambda _: "cut", completion=lambda _: "<think>3+")},
    ),
    "blind-reward": (
        {"rollouts": rollouts(pay=lambda right, _: 1.0 - right)},
        {"rollouts": rollouts(pay=lambda right, share: right + share)},
    ),
    "lying-reward": ({"log": log(lambda share: 0.9 - 0.4 * share)}, {"log": log(lambda share: 0.9 - 0.02 * share)}),
    "entropy-collapse": (
        {"log": log(lambda _: 0.5, entropy=lambda share: 0.5 * (1 - share) ** 4)},
        {"log": log(lambda share: 0.5 + 0.4 * share, entropy=lambda share: 0.5 * (1 - share) ** 4)},
    ),
    "learning-rate-too-high": (
        {"log": log(lambda share: 0.9 - 0.5 * share, reward=lambda share: 0.8 - 0.4 * share)},
        {"log": log(lambda share: 0.9 - 0.05 * share, reward=lambda share: 0.8)},
    ),
    "learning-rate-too-small": (
        {"log": log(lambda _: 0.5, reward=lambda _: 0.5), "moved": 1e-5},
        {"log": log(lambda _: 0.5, reward=lambda _: 0.5, grad_norm=lambda _: 0.0), "moved": 0.0},
    ),
    "kl-runaway": ({"log": log(kl=lambda share: 5 * share)}, {"log": log(kl=lambda share: 0.5 * share)}),
    "unfaithful": (
        {"rollouts": rollouts(fault=lambda share: "digit" if share > 0.5 else None)},
        {"rollouts": rollouts(fault=lambda share: "digit")},
    ),
    "not-finite": ({"log": log(grad_norm=lambda share: float("nan") if share > 0.9 else 1.0)}, {}),
    "flat": (
        {"log": log(lambda _: 0.5, reward=lambda _: 0.5)},
        {"log": log(lambda share: 0.5 + 0.2 * share, reward=lambda _: 0.5)},
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_told_from_what_is_near_it(name):
    has, has_not = FAULTY[name]
    assert name in named(history(**has))
    assert name not in named(history(**has_not))


def test_every_fault_is_tried():
    assert FAULTY.keys() == doctor.FAULTS.keys() | {"flat"}


def test_the_keys_that_a_remedy_names_are_keys():
    known = {field.name for cls in (GRPOConfig, GrpoArguments, CorpusArguments) for field in dataclasses.fields(cls)}
    known |= {"max_depth", "num_range", "max_digits", "max_length", "eos_token", "pad_token", "reward_funcs"}
    values = {"eval_exact_match", "arith_hf", "exact_answer", "right_steps"}
    for has, _ in FAULTY.values():
        for verdict in doctor.examine(history(**has)).values():
            if isinstance(verdict, Finding):
                assert re.search("[0-9]", verdict.evidence)
                assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", verdict.remedy)) <= known | values


def test_a_remedy_names_the_value_of_the_recipe():
    found = doctor.examine(history(log=log(kl=lambda _: 3.0), recipe={"beta": 0.01, "learning_rate": 1e-3}))[
        "kl-runaway"
    ]
    assert found.remedy == "a third of learning_rate (now 0.001), or ten times beta (now 0.01)"


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("lying-reward", {"updates": 9}, "9 updates are too few to judge a trend: need 10"),
        (
            "lying-reward",
            {"log": log(updates=4)},
            "4 log lines are too few to judge a trend: need 6 (logging_steps: 1)",
        ),
        ("lying-reward", {"log": log(None), "rollouts": []}, "eval_strategy: steps"),
        ("too-easy", {"rollouts": rollouts(updates=10)}, "13 groups in a third of the run are too few"),
        ("too-easy", {"rollouts": [], "log": log(None, 5)}, "record_rollouts: true"),
        ("blind-reward", {"rollouts": ALL_RIGHT}, "0 groups with right and wrong rollouts are too few: need 20"),
        ("unfaithful", {"rollouts": ALL_WRONG}, "0 right answers in a third"),
        ("kl-runaway", {}, "beta above 0 records kl"),
        (
            "learning-rate-too-small",
            {"log": log(lambda _: 0.5, reward=lambda _: 0.5), "moved": None, "unmoved": "its parent is not here"},
            "how far the weights moved: its parent is not here",
        ),
    ],
)
def test_it_says_what_it_could_not_look_at(name, given, said):
    assert said in unseen(history(**given))[name]


def test_accuracy_falls_from_the_parent_or_from_its_best():
    broke, peaked, same = [0.5] + [0.0] * 8, [0.5] * 3 + [0.9] * 3 + [0.5] * 3, [0.5, 0.45, 0.52] * 3
    assert counted("it", broke, 100).fell == 0.5
    assert counted("it", peaked, 100).fell == pytest.approx(0.4)
    assert counted("it", same, 100).fell == 0
    assert counted("it", [0.5], 100) is None
    assert counted("it", [0.5, 0.4], 10).fell == 0, "one problem of ten is chance"


@pytest.mark.parametrize(("end", "least", "most"), [(0.5, 0, 8), (0.1, 295, 300)])
def test_what_chance_does_is_not_called_broken(end, least, most):
    """300 runs with four evaluations of 64 problems, each time other ones: the accuracy goes from 0.5 to `end`."""
    broken = 0
    for seed in range(300):
        rng = random.Random(f"broken/{seed}")
        lines = [line(step, 0.0) for step in range(1, UPDATES + 1)]
        for turn in range(4):
            right = sum(rng.random() < 0.5 + (end - 0.5) * turn / 3 for _ in range(64))
            lines.append({"step": 10 * turn, "eval_exact_match": right / 64})
        broken += "learning-rate-too-high" in named(history(log=lines, rollouts=[]))
    assert least <= broken <= most


def test_prompts_chosen_by_difficulty_do_not_tell_how_right_the_model_is():
    worse = rollouts(lambda share, group, index: index % 2 == 0 and share < 0.5)
    assert len(history(rollouts=worse).accuracies) == 2
    assert len(history(rollouts=worse, recipe={"sample_by": "level"}).accuracies) == 1


def test_it_does_not_advise_a_key_that_is_on_or_would_not_help():
    given = {"log": log(None), "recipe": {"record_rollouts": True, "sample_by": "steps"}}
    for name in ("lying-reward", "learning-rate-too-high", "flat"):
        reason = unseen(history(**given))[name]
        assert "sample_by drew what it trained on by how hard it is; eval_strategy: steps" in reason
        assert "record_rollouts" not in reason


def test_a_run_is_healthy_where_all_was_judged(tmp_path):
    report = doctor.diagnose(write(tmp_path, rollouts(), log_history=log(kl=lambda _: 0.1)))
    assert set(report["unseen"]) == set()
    assert "\nhealthy: no not-finite" in doctor.as_text(report)


def test_sums():
    assert thirds([1, 2, 3, 4, 5, 6, 7]) == ([1, 2], [3, 4, 5], [6, 7])
    assert thirds([1]) == ([1], [], [1])
    ends = scattered([1, 3, 9, 9, 5, 7])
    assert (ends.first, ends.last, ends.change) == (2, 6, 4)
    assert ends.error == pytest.approx((statistics.variance([1, 3]) / 2 + statistics.variance([5, 7]) / 2) ** 0.5)
    assert ends.rose
    assert scattered([1] * 5) is None


# The command


def write(folder, rows=None, **given):
    """A folder as a run leaves it."""
    files.write_json(folder / "trainer_state.json", {"log_history": log(), "global_step": UPDATES} | given)
    files.write_text(folder / "recipe.yaml", "learning_rate: 1.0e-3\n")
    for row in rows or []:
        path = folder / f"rollouts/train-{row['step']:05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        some = [{key: one[key] for key in READ} for one in rows if one["step"] == row["step"]]
        pq.write_table(pa.Table.from_pylist(some), path)
    return folder


def test_the_command_on_a_run_that_is_well(tmp_path, capsys):
    assert main(["doctor", str(write(tmp_path, rollouts()))]) == 0
    said = capsys.readouterr().out
    assert "30 updates so far, 480 rollouts of training recorded, reward 0.5" in said.replace("\n  ", " ")
    assert "no fault found; 13 of 14 could be judged: no not-finite, no-end-token" in said
    assert "not judged: kl-runaway (how far" in said
    assert "not judged: learning-rate" not in said


def test_the_command_on_a_faulty_run(tmp_path, capsys):
    write(tmp_path, ALL_WRONG)
    assert main(["doctor", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "\ntoo-hard\n  100% of the 40 groups of the first third were all wrong" in said
    assert max(map(len, said.splitlines())) <= 120
    assert main(["doctor", str(tmp_path), "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in report["findings"]] == ["too-hard"]
    assert report["rollouts"] == 480
    assert set(report["findings"][0]) == {"name", "evidence", "remedy"}


def test_too_short_a_run_is_not_judged(tmp_path, capsys):
    write(tmp_path, log_history=log(updates=3), global_step=3)
    assert main(["doctor", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "too early to tell: so far no not-finite" in said
    assert "3 updates are too few to judge a trend" in said
    assert "healthy" not in said


def test_the_newest_step_checkpoint_is_read_where_nothing_else_is(tmp_path):
    for step in (9, 20, 100):
        write(tmp_path / f"checkpoint-{step}", global_step=step)
    (tmp_path / "checkpoint-100/trainer_state.json").write_bytes(b"")  # it was being written
    assert doctor.diagnose(tmp_path)["updates"] == 20


def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys):
    def complaint(*arguments):
        assert main(["doctor", *map(str, arguments)]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 1
        return errors[0]

    assert "no run in" in complaint(tmp_path / "nowhere")
    write(tmp_path, log_history=[{"step": 1, "loss": 2.0}])
    assert "holds no run of GRPO" in complaint(tmp_path)
    write(tmp_path, rollouts(updates=2))
    (tmp_path / "rollouts/train-00001.parquet").write_bytes(b"PAR1")
    assert "train-00001.parquet: no file of rollouts" in complaint(tmp_path)
    (tmp_path / "trainer_state.json").write_text("{")
    assert "trainer_state.json:1:2: not JSON" in complaint(tmp_path)
    assert "the following arguments are required: folder" in complaint()
    assert "invalid choice: 'yaml'" in complaint(tmp_path, "--format", "yaml")


@pytest.mark.parametrize(("name", "easy"), [("too-hard", 0), ("uneven", 2)])
def test_groups_that_are_all_wrong_are_so_where_they_stop_at_their_fault(name, easy):
    """Of four groups so many are all right; the others have no end token, and the log counts them as cut off."""
    rows = rollouts(lambda _, group, index: group < easy)
    at_fault = {"finished": False, "fault": "digit"}
    rows = [row if row["right"] else row | at_fault for row in rows]
    told = {"reward": easy / 4, "groups__all_right": easy / 4}
    told |= dict.fromkeys(("groups__all_wrong", "completions__clipped_ratio"), 1 - easy / 4)
    lines = log(lambda _: easy / 4, **{key: lambda _, value=value: value for key, value in told.items()})
    given = {"log": lines, "recipe": {"stop_at_fault": True}}
    assert named(history(rollouts=rows, **given)) == named(history(rollouts=[], **given)) == {name}
    cut = [row | {"truncated": not row["right"]} for row in rows]
    assert name not in named(history(rollouts=cut, **given)), "those at the cap are cut off, and have no answer"
    paid = [row | {"frac_reward_zero_std": 0.1} for row in lines if "loss" in row]
    assert name not in named(history(rollouts=[], log=paid, recipe=given["recipe"])), "paid for right steps they teach"


def test_a_reward_that_fades_by_design_is_not_what_fell():
    """What is paid for answers rises by 0.3 while fewer are right; the sum falls as the pay of right steps fades."""
    answers, steps = (lambda share: 0.5 + 0.3 * share), (lambda share: max(0.0, 0.6 - 1.2 * share))
    pays = {"rewards__exact_answer__mean": answers, "rewards__right_steps__mean": steps}
    pays["reward"] = lambda share: answers(share) + steps(share)
    found = doctor.examine(history(log=log(lambda share: 0.8 - 0.3 * share, **pays), rollouts=[]))
    assert {name for name, one in found.items() if isinstance(one, Finding)} == {"lying-reward"}
    assert found["lying-reward"].evidence.startswith("the reward of exact_answer rose from 0.5")
    assert named(history(log=log(**pays))) == set()
    recipe = {"reward_funcs": ["arith_hf.rewards.exact_answer", "arith_hf.rewards.right_steps", "mine.short"]}
    recipe["reward_weights"] = [2.0, 1.0, 0.5]
    one = history(log=log(**pays, rewards__short__mean=lambda share: 0.1 * share), recipe=recipe)
    assert one.paid[-1] == pytest.approx(2.0 * 0.8 + 0.5 * 0.1)
    assert one.pay == "reward of exact_answer and short"
    assert history(log=log(rewards__right_steps__mean=steps)).pay == history().pay == "reward", "nothing else is paid"


def test_a_broken_file_of_rollouts_is_named(tmp_path):
    write(tmp_path, rollouts(updates=2))
    path = tmp_path / "rollouts/train-00001.parquet"
    whole = path.read_bytes()
    pq.write_table(pa.table({"step": [1]}), path)
    with pytest.raises(ValueError, match=r'train-00001\.parquet: no file of rollouts .*"group" does not exist'):
        read_rollouts(tmp_path / "rollouts")
    for place in range(0, len(whole), 50):  # one byte flipped: an error with the file's name, or nothing lost
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            assert len(read_rollouts(tmp_path / "rollouts")) == 2 * 4 * GROUP


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("trainer_state.json", "[]", "need a JSON object, got list"),
        ("trainer_state.json", "{}", "need a list of objects as log_history"),
        ("trainer_state.json", '{"log_history": [1], "global_step": 1}', "need a list of objects as log_history"),
        ("trainer_state.json", '{"log_history": []}', "need a number of updates as global_step, got None"),
        ("trainer_state.json", '{"log_history": [{"reward": "1"}], "global_step": 1}', "got reward '1'"),
        ("recipe.yaml", "- a", "need a key and a value on each line, got list"),
        ("recipe.yaml", "a: [", "no YAML"),
        ("recipe.yaml", "num_eval_generations: many", "need int as num_eval_generations, got 'many'"),
        ("recipe.yaml", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("provenance.json", "[]", "need a JSON object, got list"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, capsys, name, content, said):
    write(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["doctor", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / name}: " in error
    assert said in error


def test_a_damaged_weight_file_is_told_and_the_rest_is_judged(road, tmp_path):
    (write(tmp_path, rollouts()) / "model.safetensors").write_bytes(b"cut")
    files.write_json(tmp_path / "provenance.json", {"parent": str(road / "checkpoints/tiny/pretrain")})
    assert "cannot be read" in read(tmp_path).unmoved
    assert doctor.diagnose(tmp_path)["weights_moved"] is None


def test_a_gap_in_a_column_is_named_with_its_file(tmp_path):
    write(tmp_path, rollouts(updates=2))
    path = tmp_path / "rollouts/train-00000.parquet"
    first, *others = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([first | {"completion": None}, *others]), path)
    with pytest.raises(ValueError, match=r"no file of rollouts \(completion is missing in 1 rows\)"):
        read_rollouts(tmp_path / "rollouts")


@pytest.mark.parametrize(("column", "value"), [("reward", "1.0"), ("right", "yes"), ("completion", 3), ("step", None)])
def test_a_column_of_another_type_is_named_with_its_file(tmp_path, column, value):
    write(tmp_path, rollouts(updates=2))
    path = tmp_path / "rollouts/train-00001.parquet"
    rows = [row | {column: value} for row in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(ValueError, match=rf"train-00001\.parquet: no file of rollouts \({column} is of type"):
        read_rollouts(tmp_path / "rollouts")


def test_a_completion_that_was_written_again_is_held_once(tmp_path):
    rows = read_rollouts(write(tmp_path, rollouts()) / "rollouts")
    assert len({id(row["completion"]) for row in rows}) == 1


def test_rollouts_that_stop_at_their_fault_are_not_taken_for_cut_off():
    """They have no end token, and lack none; at the cap one of them is cut off like any other."""
    stopped = {"stop_at_fault": True}
    at_fault = CUT | {"truncated": lambda _: False, "fault": lambda _: "cut", "completion": lambda _: "<think>3+"}
    assert "truncation" in named(history(rollouts=rollouts(**at_fault)))
    assert "truncation" not in named(history(rollouts=rollouts(**at_fault), recipe=stopped))
    at_cap = at_fault | {"truncated": lambda _: True}
    assert "truncation" in named(history(rollouts=rollouts(**at_cap), recipe=stopped))
    logged = history(rollouts=[], log=log(completions__clipped_ratio=lambda _: 0.9))
    assert "truncation" in named(logged)
    assert {"truncation", "no-end-token"} <= set(unseen(dataclasses.replace(logged, recipe=stopped)))
