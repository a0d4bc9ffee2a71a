import doctest
import json

import pytest

from arith_hf import files, report
from arith_hf.report import measured as measured_room
from arith_hf.report import table


def measured(folder, score, invalid=None, harder=None, **more):
    block = {
        "n": 10,
        "exact_match": score,
        "exact_match_interval": [score - 0.1, score + 0.1],
        "parse_rate": 1.0,
        "mean_tokens": 5.0,
        "by_kind": {} if invalid is None else {"invalid": {"exact_match": invalid, "n": 4}},
        "steps_match": score - 0.05,
        "called_error": 0.002,
        **more,
    }
    files.write_json(folder / "metrics.json", {"seconds": 90, "cpu_seconds": 120})
    files.write_json(
        folder / "evaluate.json",
        {
            "parameters": 7,
            "command": "c",
            "protocols": {"nontrivial": block, "seed": block | {"by_kind": {}}} | (harder or {}),
        },
    )


def test_one_row_a_measured_stage_in_the_order_of_making(tmp_path, capsys):
    measured(tmp_path / "m/sft", 0.5, invalid=0.25)
    measured(tmp_path / "m/pretrain", 0.25, invalid=0.75)
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--output", str(tmp_path / "t.txt")])
    lines = capsys.readouterr().out.splitlines()
    score = "25.0% (15.0% to 35.0%) 20.0% 100.0%"
    assert " ".join(lines[2].split()) == f"pretrain 1.5 {score} {score} 75.0% 0.20%"
    assert lines[3].startswith("sft")
    assert (tmp_path / "t.txt").read_text().splitlines() == lines
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", "markdown"])
    assert capsys.readouterr().out.startswith("| stage | minutes | nontrivial (95 %) | every step |")
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", "json"])
    assert [row["stage"] for row in json.loads(capsys.readouterr().out)] == ["pretrain", "sft"]


def test_nothing_measured_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="run make pipeline MODEL=none"):
        table.collect(tmp_path / "none")


def test_harder_sets_have_a_line_each_and_a_column_a_stage(tmp_path):
    unseen = {"none": {"n": 7}, "some": {"n": 3, "exact_match": 0.125, "exact_match_interval": [0.0, 0.25]}}
    measured(tmp_path / "m/sft", 0.5)
    chains = {"n": 10, "exact_match": 0.25, "exact_match_interval": [0.1, 0.995], "parse_rate": 1.0, "mean_tokens": 5.0}
    measured(tmp_path / "m/grpo", 0.5, harder={"chains": chains | {"by_kind": {}}}, by_unseen=unseen)
    lines = [" ".join(line.split()) for line in table.as_text(table.collect(tmp_path / "m")).splitlines()]
    at = lines.index("exact match (95 %) sft grpo")
    assert lines[at + 2 : at + 6] == [
        "nontrivial, unseen facts 12.5% (0.0% to 25.0%)",
        "seed, unseen facts 12.5% (0.0% to 25.0%)",
        "chains 25.0% (10.0% to 99.50%)",
        "",
    ]
    assert not any("chains" in line for line in lines[:at])
    assert "| chains |  | 25.0% (10.0% to 99.50%) |" in table.as_markdown(table.collect(tmp_path / "m"))


def test_scores_of_older_evaluations_are_still_shown(tmp_path):
    measured(tmp_path / "m/sft", 0.5, steps_match=None, called_error=None)
    assert table.stages_table(table.collect(tmp_path / "m"))[1][3:5] == ["", "100.0%"]


# Of which weights and which problems


def signed(folder, weights, measured_on, data="d" * 64, n=10):
    """A stage with so many problems of so many data, and the hashes of the weights that are there and were measured."""
    measured(folder, 0.5, n=n)
    for name, digest in (("metrics.json", weights), ("evaluate.json", measured_on)):
        pins = {"weights": {"model.safetensors": digest}, "data": {"path": "data/m", "sha256": data}}
        files.write_json(folder / name, files.read_json(folder / name) | (pins if digest else {}))


@pytest.mark.parametrize("form", ["text", "html"])
def test_the_score_of_other_weights_is_refused(tmp_path, form):
    """As `arith-hf evaluate --checkpoint OTHER --output_dir checkpoints/m/sft` leaves it."""
    signed(tmp_path / "m/pretrain", "a", "a")
    signed(tmp_path / "m/sft", "b", "c")
    with pytest.raises(ValueError, match=r"sft/evaluate\.json is not of the weights in .*make evaluate MODEL=m"):
        report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", form])


def test_what_does_not_say_its_weights_is_shown_as_not_verified(tmp_path):
    signed(tmp_path / "m/pretrain", "a", "a")
    signed(tmp_path / "m/sft", "b", None)
    signed(tmp_path / "m/lora", None, "c")
    rows = table.collect(tmp_path / "m")
    assert [row["verified"] for row in rows] == [True, False, False]
    assert "not verified to be of the weights that are there now: sft, lora" in table.as_text(rows)


def test_other_sizes_and_other_data_are_told_stage_by_stage(tmp_path):
    for stage, data, n in (("pretrain", "d", 1000), ("sft", "d", 1000), ("grpo", "e", 16)):
        signed(tmp_path / "m" / stage, "a", "a", data, n)
    rows = table.collect(tmp_path / "m")
    assert "nontrivial n = 1000 (pretrain, sft) or 16 (grpo), seed n = " in table.footnote(rows)
    assert "not of the same data, so not to be compared: pretrain, sft beside grpo." in table.footnote(rows)
    assert table.doubts(rows[:2]) == []
    assert "nontrivial n = 1000, seed n = 1000;" in table.footnote(rows[:2])


# What is damaged


def damage(**changes):
    """Change keys of the scores of one protocol."""

    def change(found):
        found["protocols"]["nontrivial"] |= changes
        return found

    return change


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("evaluate", lambda _: [], "need a JSON object, got list"),
        ("evaluate", lambda _: {}, "need the scores of each protocol"),
        ("evaluate", lambda found: found | {"protocols": []}, "need the scores of each protocol"),
        (
            "evaluate",
            lambda found: found | {"protocols": {"seed": {}}},
            "seed has no n: run `rm .*make evaluate MODEL=m",
        ),
        ("evaluate", lambda found: found | {"parameters": None}, "need parameters, got None"),
        ("evaluate", damage(exact_match=1.5), "nontrivial.exact_match is 1.5, need a share from 0 to 1"),
        ("evaluate", damage(exact_match=float("nan")), "nontrivial.exact_match is 'NaN', need a share"),
        ("evaluate", damage(exact_match="0.5"), "nontrivial.exact_match is '0.5', need a share"),
        ("evaluate", damage(n=-1), "nontrivial.n is -1, need a count"),
        ("evaluate", damage(exact_match_interval=[0.5]), "exact_match_interval is .*, need two shares"),
        ("evaluate", damage(by_kind={"invalid": 3}), "nontrivial.by_kind: need an object for each group"),
        ("evaluate", damage(by_level={"1": {"parse_rate": -0.1}}), "nontrivial.by_level.1.parse_rate is -0.1"),
        ("metrics", lambda _: [], "need a JSON object, got list"),
        ("metrics", lambda found: found | {"seconds": "90"}, "seconds cannot be '90': run `rm .*make sft MODEL=m"),
    ],
)
@pytest.mark.parametrize("form", ["text", "html"])
def test_damage_is_one_line_that_names_the_file(tmp_path, name, change, said, form):
    measured(tmp_path / "m/sft", 0.5)
    path = tmp_path / f"m/sft/{name}.json"
    files.write_json(path, change(files.read_json(path)))
    with pytest.raises(ValueError, match=said) as caught:
        report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", form])
    assert str(path) in str(caught.value)


def test_the_examples_in_the_rooms():
    for room in (table, measured_room):
        assert doctest.testmod(room).failed == 0
