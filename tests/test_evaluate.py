"""Evaluation: the metric, the protocols, the caps, and the files and the line that it leaves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import evaluate as library
import pytest
import yaml
from conftest import PROBLEMS, stage

from arith_hf import checkpoint, copies, files, protocols, provenance, scoring, solver, tasks, tokenizer
from arith_hf.__main__ import main
from arith_hf.metric.exact_answer import wilson
from arith_hf.notation import expression as notation

TASK = tasks.get("expression")


def row(expression: str) -> dict:
    working = TASK.work(expression)
    return {
        "problem": notation.problem(expression),
        "expression": expression,
        "answer": str(working.answer),
        "task": "expression",
        "level": TASK.level(expression),
        "steps": len(working.steps),
        "kind": TASK.kind(expression),
    }


UNKNOWN = ("9 + 9 - 9", "(8 - 1) + 6")  # the pupil never saw them


@pytest.fixture
def data(pupil: Path, tmp_path: Path) -> Path:
    """Test sets of what the pupil knows, two that it does not, and a manifest that its tokenizer signed."""
    root = tmp_path / "data" / "tiny"
    nontrivial = [row(one) for one in (*PROBLEMS, *UNKNOWN) if TASK.work(one).steps]
    files.write_jsonl(root / "test" / "nontrivial.jsonl", nontrivial)
    files.write_jsonl(root / "test" / "seed.jsonl", [row(one) for one in PROBLEMS[:5]] * 2)
    files.write_jsonl(root / "test" / "invalid.jsonl", [row("3 +")])
    files.write_jsonl(root / "harder" / "chains.jsonl", [row(" + ".join("123456"))])
    signature = files.read_json(pupil / "provenance.json")["tokenizer_fingerprint"]
    facts = notation.facts("".join(notation.completion(TASK.work(one)) for one in PROBLEMS))
    files.write_text(root / "facts.txt", "\n".join(sorted(facts)))
    listed = {"distinct": len(facts), "sha256": files.sha256(root / "facts.txt")}
    files.write_json(root / "manifest.json", {"tokenizer_fingerprint": signature, "facts": listed})
    return root


@pytest.fixture
def run(pupil: Path, data: Path, tmp_path: Path) -> Callable[..., int]:
    def call(*more: str) -> int:
        places = ("--checkpoint", str(pupil), "--dataset_name", str(data), "--output_dir", str(tmp_path / "out"))
        return main(["evaluate", *places, *more])

    return call


# The metric


def test_the_metric_loads_by_path_and_counts() -> None:
    metric = library.load(str(scoring.METRIC))
    right, wrong = (f"<think>\n</think>\nFinal Result: {answer}" for answer in ("12", "13"))
    error = notation.completion(TASK.work("3 +"))
    scores = metric.compute(
        predictions=[right, wrong, error, right, "Final Result: 12", right + "4"],
        references=["12", "12", "ERROR", "12", "12", "12"],
        finished=[True, True, True, False, True, True],
        num_tokens=[1, 2, 3, 4, 5, 9],
        steps_right=[True, False, False, False, False, False],
    )
    assert scores == {
        "n": 6,
        "exact_match": 0.3333,
        "exact_match_interval": wilson(2, 6),
        "steps_match": 0.1667,
        "steps_match_interval": wilson(1, 6),
        "parse_rate": 0.6667,
        "parse_rate_interval": wilson(4, 6),
        "called_error": 0.0,
        "mean_tokens": 4.0,
        "unfinished": 1,
    }
    plain = metric.compute(predictions=[right], references=["12"])
    assert (plain["exact_match"], plain["steps_match"], plain["mean_tokens"]) == (1.0, None, None)
    called = metric.compute(predictions=[error, error, right], references=["ERROR", "12", "12"])
    assert (called["called_error"], called["exact_match"]) == (0.5, 0.6667)
    assert metric.compute(predictions=[error], references=["ERROR"])["called_error"] is None


@pytest.mark.parametrize(
    ("hits", "n", "interval"),
    [(0, 10, [0.0, 0.2775]), (10, 10, [0.7225, 1.0]), (50, 100, [0.4038, 0.5962]), (901, 1000, [0.8809, 0.918])],
)
def test_wilson_intervals_are_the_published_ones(hits: int, n: int, interval: list[float]) -> None:
    assert wilson(hits, n) == interval


# The whole


def test_the_files_and_the_last_line(
    run: Callable[..., int], pupil: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--protocol", "nontrivial", "seed", "harder", "--batch_size", "3") == 0
    out, report = tmp_path / "out", files.read_json(tmp_path / "out" / "evaluate.json")
    printed = capsys.readouterr().out.splitlines()
    last = json.loads(printed[-1])
    nontrivial = report["protocols"]["nontrivial"]
    assert last["nontrivial"]["exact_match"] == nontrivial["exact_match"] == round(5 / 7, 4)
    assert last["nontrivial"]["exact_match_interval"] == wilson(5, 7)
    assert nontrivial["n"] == 7, "invalid problems are not in the headline"
    assert nontrivial["by_kind"]["invalid"]["exact_match"] == 1.0
    assert nontrivial["by_kind"]["valid"]["n"] == 7
    assert sum(block["n"] for block in nontrivial["by_level"].values()) == 7
    assert sum(block["n"] for block in nontrivial["by_steps"].values()) == 7
    assert list(nontrivial["by_steps"]) == ["1", "2", "3", "6"]
    assert report["protocols"]["seed"]["temperature"] == 0.8
    assert report["protocols"]["seed"]["n"] == 10, "the seed's own protocol keeps repeats"
    assert report["protocols"]["nontrivial"]["temperature"] == 0.0
    assert [block["drafts"] for block in report["protocols"].values()] == [True, True, True]
    assert list(report["protocols"]) == ["nontrivial", "seed", "chains"], "harder: the sets that the corpus has"
    assert (nontrivial["steps_match"], nontrivial["steps_match_interval"]) == (round(5 / 7, 4), wilson(5, 7))
    assert nontrivial["by_unseen"]["none"]["exact_match"] == 1.0, "the problems by heart"
    assert nontrivial["by_unseen"]["some"]["n"] == 2
    assert "by_unseen" not in report["protocols"]["seed"]
    assert report["weights"] == provenance.weights(pupil) != {}
    for key in ("command", "seed", "seconds", "tokenizer_fingerprint", "data", "checkpoint", "batch_size"):
        assert report[key] is not None, key
    assert all(len(digest) == 64 for digest in nontrivial["files"].values())

    samples = list(files.read_jsonl(out / "samples.jsonl"))
    assert len(samples) == 8 + 10 + 1
    first = samples[0]
    assert (first["problem"], first["answer"], first["prediction"], first["right"]) == ("Evaluate: 1 + 2", "3", 3, True)
    mine = [one for one in samples if one["protocol"] == "nontrivial" and one["kind"] == "valid"]
    assert sum(one["right"] for one in mine) == 5

    assert (first["steps_right"], first["fault"], first["unseen"]) == (True, None, 0)
    wrong = next(one for one in mine if not one["right"])
    assert (wrong["problem"], wrong["unseen"], wrong["steps_right"]) == ("Evaluate: 9 + 9 - 9", 2, False)
    assert wrong["fault"]["index"] == 0
    reasons = ("the next operation is 9 + 9", "9 + 9 is 18", "what remains", "need 2", "not in the form")
    assert wrong["fault"]["reason"].startswith(reasons)

    text = (out / "evaluate.txt").read_text()
    assert text.strip() in "\n".join(printed)
    assert text.count("60-80 % good and 80 % or more excellent: excellent") == 1, "the bands are the seed protocol's"


def test_a_second_run_says_that_it_replaces_and_gives_the_same(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--protocol", "seed", "nontrivial") == 0
    first = list(files.read_jsonl(tmp_path / "out" / "samples.jsonl"))
    assert run("--protocol", "seed", "nontrivial") == 0
    assert "replacing" in capsys.readouterr().err
    assert list(files.read_jsonl(tmp_path / "out" / "samples.jsonl")) == first, "sampling follows the seed"


def test_drafts_change_the_time_and_nothing_else(run: Callable[..., int], tmp_path: Path) -> None:
    samples, blocks = [], []
    for drafts in ("true", "false"):
        assert run("--drafts", drafts, "--protocol", "nontrivial", "chains") == 0
        samples.append(list(files.read_jsonl(tmp_path / "out" / "samples.jsonl")))
        blocks.append(files.read_json(tmp_path / "out" / "evaluate.json")["protocols"])
    told = [row.pop("agreed") for row in samples[0]]  # only a draft can be agreed with
    assert all(0 <= share <= 1 for share in told)
    for one, other in zip(*samples, strict=True):
        assert one.pop("chance")["1.0"] <= 1
        assert one.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-4)
    assert samples[0] == samples[1]
    for name in blocks[0]:
        assert (blocks[0][name].pop("drafts"), blocks[1][name].pop("drafts")) == (True, False)
        assert 0 <= blocks[0][name].pop("token_accuracy") <= 1
        assert blocks[1][name].pop("token_accuracy") is None
        assert blocks[0][name].pop("sampling")["1.0"]["exact_n"] == blocks[1][name]["n"]
        assert [blocks[way][name].pop("calibration")["n"] for way in (0, 1)] == [blocks[1][name]["n"]] * 2
        assert blocks[0][name] | {"seconds": 0} == blocks[1][name] | {"seconds": 0}


def test_what_is_cut_off_at_its_fault_is_wrong(run: Callable[..., int], tmp_path: Path) -> None:
    assert run("--stop_at_fault", "nontrivial", "seed", "harder", "--protocol", "nontrivial", "seed", "chains") == 0
    blocks = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]
    assert [block["stop_at_fault"] for block in blocks.values()] == [True, False, True], "sampling goes on"
    assert blocks["nontrivial"]["exact_match"] == blocks["nontrivial"]["steps_match"] == round(5 / 7, 4)
    assert (blocks["nontrivial"]["unfinished"], blocks["nontrivial"]["called_error"]) == (2, None)
    assert (tmp_path / "out" / "evaluate.txt").read_text().count("cut off at the first fault") == 2


def test_samples_confidences_and_planted_results_are_counted(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    more = (
        "--num_generations",
        "4",
        "--sampling_temperatures",
        "0.5",
        "1.5",
        "--num_sampled",
        "5",
        "--num_planted",
        "2",
    )
    assert run("--protocol", "nontrivial", "seed", "chains", "--stop_at_fault", "chains", *more) == 0
    blocks = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]
    rows = list(files.read_jsonl(tmp_path / "out" / "samples.jsonl"))
    mine = [one for one in rows if one["protocol"] == "nontrivial" and one["kind"] == "valid"]

    block = blocks["nontrivial"]
    assert list(block["sampling"]) == ["0.5", "1.0", "1.5"], "the chance at temperature 1 costs nothing"
    assert [one["num_generations"] for one in block["sampling"].values()] == [4, 0, 4]
    sampled = [one for one in mine if "sampled" in one]
    assert len(sampled) == block["sampling"]["0.5"]["n"] == 5
    assert all(sum(votes.values()) == 4 for one in sampled for votes in one["sampled"].values())
    right = [one["sampled"]["1.5"].get(one["answer"], 0) / 4 for one in sampled]
    assert block["sampling"]["1.5"]["pass_at"]["1"]["value"] == pytest.approx(sum(right) / 5, abs=1e-4)
    chances = [one["chance"]["1.5"] for one in mine]
    assert block["sampling"]["1.5"]["exact_n"] == len(chances) == 7
    assert block["sampling"]["1.5"]["exact_pass_at"]["1"]["value"] == pytest.approx(sum(chances) / 7, abs=1e-4)
    known = [one for one in mine if one["steps_right"]]
    assert all(one["chance"]["0.5"] > one["chance"]["1.0"] > one["chance"]["1.5"] for one in known)

    assert [one["confidence"] == one["chance"]["1.0"] for one in mine] == [one["steps_right"] for one in mine]
    assert all(0 < one["confidence"] <= 1 for one in mine)
    assert block["calibration"]["n"] == 7
    assert block["faithfulness"]["n"] == 2 == sum(block["faithfulness"][key] for key in ("followed", "kept", "other"))
    counted = {level: sum(one["n"] for one in sizes.values()) for level, sizes in block["by_level_and_size"].items()}
    assert counted == {level: one["n"] for level, one in block["by_level"].items()}
    assert {size for sizes in block["by_level_and_size"].values() for size in sizes} == {"1-9", "10-20"}

    absent = {"sampling", "calibration", "faithfulness", "hints"}
    assert absent & set(blocks["seed"]) == set(), "its own samples are the answers"
    assert absent & set(blocks["chains"]) == {"sampling"}, "what is cut off is not sampled, but has its chance"
    told = (tmp_path / "out" / "evaluate.txt").read_text()
    for line in (
        "  4 samples of 5 problems at temperature 1.5: pass@1 ",
        "  right workings at temperature 1.0, by their probability: pass@1 ",
        "  a wrong result planted: ",
        "  confidence ",
        "  weakest by level and largest number: level 2, 1-9 ",
    ):
        assert line in told
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["nontrivial"].keys() == {
        "n", "exact_match", "exact_match_interval", "steps_match", "parse_rate", "mean_tokens"
    }  # fmt: skip


def test_without_drafts_there_are_samples_and_confidences_but_no_chances(
    run: Callable[..., int], tmp_path: Path
) -> None:
    more = ("--num_generations", "2", "--sampling_temperatures", "0.01", "--num_planted", "2", "--drafts", "false")
    assert run("--protocol", "nontrivial", *more) == 0
    block = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]["nontrivial"]
    assert list(block["sampling"]) == ["0.01"]
    assert block["sampling"]["0.01"]["exact_pass_at"] == {}
    assert block["sampling"]["0.01"]["pass_at"]["1"]["value"] == block["exact_match"], "as good as greedy"
    assert (block["calibration"]["n"], block["faithfulness"]["n"]) == (7, 2)


@pytest.fixture
def hinted(data: Path) -> Path:
    """What the pupil knows and what it does not, each with a hint."""
    hints = [
        ("1 + 2", "4", "off1"),
        ("4 - -7", "13", "off2"),
        ("5 + (10 - 3)", "-3", "random"),
        ("9 + 9 - 9", "8", "off1"),
    ]
    rows = [row(one) | {"hint": hint, "kind": kind} for one, hint, kind in hints]
    files.write_jsonl(data / "harder" / "hints.jsonl", rows)
    return data


def test_hints_are_said_and_what_they_turn_is_counted(
    run: Callable[..., int], hinted: Path, pupil: Path, tmp_path: Path
) -> None:
    assert run("--protocol", "hints", "--num_generations", "2", "--num_planted", "2") == 0
    block = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]["hints"]
    rows = list(files.read_jsonl(tmp_path / "out" / "samples.jsonl"))
    assert [one["without_hint"] for one in rows[:3]] == [one["answer"] for one in rows[:3]]
    assert rows[3]["without_hint"] != rows[3]["answer"]
    assert {kind: one["n"] for kind, one in block["hints"].items()} == {"off1": 1, "off2": 1, "random": 1}
    asked = [notation.hinted(one["problem"], int(one["hint"])) for one in rows]
    done = solver.generate(*checkpoint.load(pupil), asked, max_new_tokens=256)
    assert [one.answer for one in done] == [one["prediction"] for one in rows]
    assert sum(one["flipped"] for one in block["hints"].values()) == sum(not one["right"] for one in rows[:3])
    assert "faithfulness" not in block
    assert "right answers that a hint turned: off1 " in (tmp_path / "out" / "evaluate.txt").read_text()


def test_a_corpus_without_hints_keeps_its_other_protocols(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--protocol", "nontrivial", "hints") == 0
    assert "hints: left out, for want of" in capsys.readouterr().err
    assert list(files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]) == ["nontrivial"]


def test_each_protocol_may_have_its_own_number_of_problems(run: Callable[..., int], tmp_path: Path) -> None:
    for counts, sizes in ((("3",), [3, 3, 1]), (("5", "2", "9"), [5, 2, 1])):
        assert run("--protocol", "nontrivial", "seed", "harder", "--num_samples", *counts) == 0
        blocks = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]
        assert [block["n"] for block in blocks.values()] == sizes


def test_a_corpus_that_lists_no_facts_leaves_the_group_out(run: Callable[..., int], data: Path, tmp_path: Path) -> None:
    signature = files.read_json(data / "manifest.json")["tokenizer_fingerprint"]
    files.write_json(data / "manifest.json", {"tokenizer_fingerprint": signature})
    assert run("--protocol", "nontrivial") == 0
    assert "by_unseen" not in files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]["nontrivial"]
    assert "unseen" not in next(files.read_jsonl(tmp_path / "out" / "samples.jsonl"))


def test_the_sets_to_choose_by_are_asked_as_the_harder_ones(
    run: Callable[..., int], data: Path, tmp_path: Path
) -> None:
    rows = list(files.read_jsonl(data / "test" / "nontrivial.jsonl"))[:3]
    for name in ("chains", "depth6"):
        files.write_jsonl(data / "heldout" / f"{name}.jsonl", rows)
    assert run("--protocol", "validation-harder", "--stop_at_fault", "validation-harder", "--num_samples", "2") == 0
    blocks = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]
    assert {name: (block["n"], block["stop_at_fault"]) for name, block in blocks.items()} == {
        "validation-depth6": (2, True),
        "validation-chains": (2, True),
    }


def test_the_cap_holds_every_right_answer(pupil: Path, data: Path) -> None:
    _, known = checkpoint.load(pupil)
    rows = protocols.read_problems(data, protocols.PROTOCOLS["nontrivial"], None)
    workings = [notation.completion(scoring.work(one)) for one in rows]
    needed = [len(ids) + 1 for ids in known(workings, add_special_tokens=False)["input_ids"]]
    done = solver.generate(
        *checkpoint.load(pupil), [notation.prompt(one["problem"]) for one in rows], max_new_tokens=300
    )
    for one, most, completion in zip(rows, needed, done, strict=True):
        if completion.answer is not None and str(completion.answer) == one["answer"]:
            assert completion.num_tokens == most, one


def test_a_cap_of_the_user_that_cuts_is_counted_and_said(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--protocol", "nontrivial", "--max_new_tokens", "20") == 0
    block = files.read_json(tmp_path / "out" / "evaluate.json")["protocols"]["nontrivial"]
    assert (block["max_new_tokens"], block["without_room"]) == (20, 5)
    assert "warning: 5 right answers do not fit in 20 new tokens" in capsys.readouterr().out
    assert block["unfinished"] >= 3, "at least what the pupil would have got right"
    assert block["exact_match"] == round(2 / 7, 4), "what is cut off is not right"


def test_positions_that_are_too_few_are_counted(pupil: Path, data: Path, tmp_path: Path) -> None:
    from arith_hf.model import ArithConfig, ArithForCausalLM

    _, known = checkpoint.load(pupil)
    short = ArithConfig.from_size(
        "tiny", vocab_size=len(known), position_embedding="learned", max_position_embeddings=40, pad_token_id=0
    )
    ArithForCausalLM(short).save_pretrained(tmp_path / "short")
    known.save_pretrained(tmp_path / "short")
    arguments = ("--checkpoint", str(tmp_path / "short"), "--dataset_name", str(data), "--protocol", "nontrivial")
    assert main(["evaluate", *arguments]) == 0
    block = files.read_json(tmp_path / "short" / "evaluate.json")["protocols"]["nontrivial"]
    rows = protocols.read_problems(data, protocols.PROTOCOLS["nontrivial"], None)
    right = [notation.ask(one["expression"]) + notation.completion(TASK.work(one["expression"])) for one in rows]
    longer = sum(len(ids) + 1 > 40 for ids in known(right)["input_ids"])
    assert block["without_room"] == longer > 0


def test_an_adapter_is_measured_as_its_merged_model(
    pupil: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from peft import LoraConfig, get_peft_model

    base = Path(shutil.copytree(pupil, tmp_path / "checkpoints" / "tiny" / "pretrain"))
    model, known = checkpoint.load(base)
    adapter = tmp_path / "checkpoints" / "tiny" / "lora"
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(adapter)
    known.save_pretrained(adapter)
    merged = copies.merge(adapter, tmp_path / "merged")
    scores = []
    for path in (base, adapter, merged):
        assert (
            main(["evaluate", "--checkpoint", str(path), "--dataset_name", str(data), "--protocol", "nontrivial"]) == 0
        )
        scores.append(json.loads(capsys.readouterr().out.splitlines()[-1])["nontrivial"])
    assert scores[0] == scores[1] == scores[2]


def test_the_stage_runs_from_its_recipe_and_the_real_corpus(road: Path, tmp_path: Path) -> None:
    """The model has not learned to calculate; it is the road that is tested: files, defaults of places, num_samples."""
    out = tmp_path / "out"
    pretrained = str(road / "checkpoints" / "tiny" / "pretrain")
    assert stage(road, "evaluate", "--checkpoint", pretrained, "--output_dir", str(out)) == 0
    report = files.read_json(out / "evaluate.json")
    assert {name: block["n"] for name, block in report["protocols"].items()} == {"nontrivial": 8, "seed": 8}
    assert all(block["without_room"] == 0 for block in report["protocols"].values())
    assert report["data"]["path"] == str(road / "data" / "tiny")


@pytest.mark.slow
def test_two_processes_share_the_work(pupil: Path, data: Path, tmp_path: Path) -> None:
    """Launched as several: the same rows in the same order, written once."""
    recipe = tmp_path / "evaluate.yaml"
    keys = {"protocol": ["nontrivial"], "num_generations": 3, "num_planted": 3, "dataset_name": str(data)}
    recipe.write_text(yaml.safe_dump(keys | {"checkpoint": str(pupil)}))
    # accelerate has no word for several processes on a CPU: it is launched as for GPUs and told to leave them alone.
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    verb = ["-m", "arith_hf", "evaluate", "--config", str(recipe), "--output_dir", str(tmp_path / "out")]
    command, printed = [sys.executable, *launch, *verb], {"capture_output": True, "text": True, "timeout": 240}
    done = subprocess.run(command, env=os.environ | {"ACCELERATE_USE_CPU": "true"}, **printed)
    assert done.returncode == 0, done.stderr
    report = files.read_json(tmp_path / "out" / "evaluate.json")
    assert (report["num_processes"], report["protocols"]["nontrivial"]["exact_match"]) == (2, round(5 / 7, 4))
    samples = list(files.read_jsonl(tmp_path / "out" / "samples.jsonl"))
    wanted = [
        one["problem"] for name in ("nontrivial", "invalid") for one in files.read_jsonl(data / f"test/{name}.jsonl")
    ]
    assert [one["problem"] for one in samples] == wanted
    assert [sum(one["sampled"]["1.0"].values()) for one in samples if one["kind"] == "valid"] == [3] * 7
    assert report["protocols"]["nontrivial"]["faithfulness"]["n"] == 3
    assert all((one["confidence"] == one["chance"]["1.0"]) == one["steps_right"] for one in samples)
    assert done.stdout.count('"nontrivial"') == 1


# Mistakes


def test_processes_that_do_not_see_each_other_are_an_error(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run() == 2
    assert "2 processes were launched but each one works alone" in capsys.readouterr().err


def unsign(data: Path) -> None:
    files.write_json(data / "manifest.json", {"tokenizer_fingerprint": "0" * 64})


@pytest.mark.parametrize(
    ("damage", "more", "said"),
    [
        (None, ("--num_samples", "0"), "need num_samples >= 1, got 0"),
        (None, ("--batch_size", "0"), "need batch_size >= 1, got 0"),
        (None, ("--max_new_tokens", "-5"), "need max_new_tokens >= 1, got -5"),
        (None, ("--num_generations", "-1"), "need num_generations >= 0, got -1"),
        (None, ("--num_planted", "-1"), "need num_planted >= 0, got -1"),
        (None, ("--num_sampled", "0"), "need num_sampled >= 1, got 0"),
        (None, ("--sampling_temperatures", "1", "0"), "need sampling_temperatures above 0, got [1.0, 0.0]"),
        (None, ("--protocol", "hints"), "no test set at"),
        (None, ("--protocol", "hardest"), "need protocol among validation, nontrivial, seed, test, pairs, depth5, "),
        (None, ("--protocol", "hardest"), "harder, validation-harder, got hardest"),
        (None, ("--stop_at_fault", "nontrivial", "--drafts", "false"), "need drafts: true for stop_at_fault"),
        (None, ("--stop_at_fault", "depth7"), "harder, validation-harder, got depth7"),
        (None, ("--num_samples", "5", "6", "7"), "need one num_samples, or one for each protocol, got 3"),
        (None, ("--num_sample", "5"), "did you mean `num_samples`?"),
        (None, ("--checkpoint", "checkpoints/tiny/sft"), "run make sft MODEL=tiny"),
        (lambda data: (data / "manifest.json").unlink(), (), "no finished corpus at"),
        (lambda data: (data / "test/nontrivial.jsonl").unlink(), (), "no test set at"),
        (lambda data: (data / "test/nontrivial.jsonl").write_text(""), (), "nontrivial.jsonl is empty"),
        (lambda data: (data / "test/nontrivial.jsonl").write_text("{"), (), "nontrivial.jsonl:1: broken line"),
        (
            lambda data: (data / "test/nontrivial.jsonl").write_text('{"problem": "1"}'),
            (),
            "need `problem` and `answer`",
        ),
        (lambda data: (data / "harder/chains.jsonl").unlink(), ("--protocol", "harder"), "no test set at"),
        (lambda data: (data / "facts.txt").write_text("1 + 1"), (), "facts.txt is not the file"),
        (unsign, (), "0" * 64),
    ],
)
def test_mistakes_are_one_line(
    run: Callable[..., int],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    damage: Callable[[Path], object] | None,
    more: tuple[str, ...],
    said: str,
) -> None:
    if damage:
        damage(data)
    assert run(*more) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_ours_needs_no_signature(pupil: Path, data: Path, tmp_path: Path) -> None:
    """Its tokenizer is its own; there is nothing that could have been mixed up."""
    stock = copies.export(pupil, tmp_path / "stock")
    (stock / "provenance.json").unlink()
    other = tokenizer.train("char", [], 0)
    unsign(data)
    assert tokenizer.fingerprint(other) != "0" * 64
    arguments = ("--checkpoint", str(stock), "--dataset_name", str(data), "--protocol", "nontrivial")
    assert main(["evaluate", *arguments]) == 0


def test_the_checkpoint_and_the_data_must_be_named(capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate"]) == 2
    assert "need --checkpoint" in capsys.readouterr().err
