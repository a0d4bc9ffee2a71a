"""The report of a model of natural text: its tables and its page say what the files say, and nothing of problems."""

import json
import re

import left
import left_text
import pytest

from arith_hf import files, report
from arith_hf.__main__ import main
from arith_hf.report import table, text_page, text_table


@pytest.fixture
def folder(tmp_path):
    return left_text.leave(tmp_path / "checkpoints" / "prose")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return text_page.render(left_text.leave(tmp_path_factory.mktemp("checkpoints") / "prose"))


def printed(folder, capsys, *more):
    assert main(["report", "--model", folder.name, "--checkpoints", str(folder.parent), *more]) == 0
    return capsys.readouterr().out


def words(html):
    return re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))


def test_a_line_a_stage_and_a_column_a_source_with_both_baselines_below(folder, capsys):
    lines = printed(folder, capsys).splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("perplexity per token"))
    assert lines[head].split()[-4:] == ["en", "es", "all", "sources"]
    body = lines[head + 2 : head + 8]
    assert [line.split("  ")[0] for line in body] == [*left_text.STAGES, "untrained, seed 0", "token frequencies"]
    assert "44.50 (42.27 to 46.73)" in body[0]
    assert "8,123.40" in body[4]
    assert "712.90" in body[5]
    assert any(line.startswith("bits per byte") for line in lines)


def test_answers_and_samples_are_told(folder, capsys):
    text = printed(folder, capsys)
    assert "right (95 %)" in text
    assert "chosen likelier (95 %)" in text
    assert re.search(r"^dpo +58.0% \(45.0% to 67.0%\) +50.0% +60.0% +200$", text, re.MULTILINE), "and by byte"
    assert "'Hello'\n  pretrain, greedy: goes on / and on\n  pretrain, temperature 0.8: <script>" in text
    assert "128 tokens seen at most, windows 64 apart" in text
    assert max(map(len, text.splitlines()[:-1])) < 200


def test_a_sample_is_shown_without_the_blank_lines_it_begins_with(folder, capsys):
    path = folder / "pretrain/evaluate.json"
    found = files.read_json(path)
    found["samples"][0] |= {"completion": "\n\n goes on", "finished": False}
    files.write_json(path, found)
    assert '<li class="text">goes on …</li>' in text_page.render(folder)
    assert "  pretrain, greedy: goes on …" in printed(folder, capsys)


def test_json_and_markdown_hold_the_same(folder, capsys):
    rows = json.loads(printed(folder, capsys, "--format", "json"))
    assert [one["stage"] for one in rows] == list(left_text.STAGES)
    assert rows[1]["perplexity"]["es"]["trained"]["perplexity"] == 43.5
    assert "| pretrain | 44.50 (42.27 to 46.73) |" in printed(folder, capsys, "--format", "markdown")


def test_the_page_has_a_section_for_each_thing_and_none_of_problems(html):
    assert re.findall('<section id="([a-z]+)"', html) == [
        *("pipeline", "perplexity", "training", "samples", "resources", "provenance")
    ]
    assert 'id="headline">36.50<' in html, "the last stage, all sources"
    said = words(html)
    for text in (
        "pretrain: perplexity per token",
        "dpo: pairs whose margin grew",
        "questions answered yes or no",
        "goes on",
    ):
        assert text in said
    for text in ("problem", "exact", "worked", "None", " nan ", "inf "):
        assert text not in said, text
    assert left_text.NAUGHTY not in html
    assert "<figure>\n<figcaption><b></b>" not in html


def test_colours_of_every_stage_are_defined(html):
    for name in set(re.findall(r"var\(--([\w-]+)\)", html)):
        assert f"--{name}:" in html or name in ("mark", "paint"), name


def test_curves_are_of_perplexities_by_source(html):
    assert "held out, en" in html
    assert "held out, es" in html


@pytest.mark.parametrize("left_out", ["yesno", "preferences", "samples"])
def test_what_was_not_measured_is_not_shown_empty(folder, capsys, left_out):
    for path in folder.glob("*/evaluate.json"):
        files.write_json(path, files.read_json(path) | {left_out: None})
    said = words(text_page.render(folder)) + printed(folder, capsys)
    gone = {"yesno": "yes or no", "preferences": "chosen likelier", "samples": "What it writes"}[left_out]
    assert gone not in said


def test_a_trained_model_that_is_not_measured_has_a_page(folder):
    for path in folder.glob("*/evaluate.json"):
        path.unlink()
    files.write_json(folder / "tokenizer/tokenizer_config.json", {"task": "text"})
    assert "make evaluate MODEL=prose" in report.html(folder)


def test_problems_keep_their_own_report(tmp_path, capsys):
    made = left.leave(tmp_path / "checkpoints" / "made")
    assert not text_table.is_text(made)
    assert printed(made, capsys).rstrip("\n") == table.as_text(table.collect(made))
    assert 'id="accuracy"' in report.html(made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"perplexity": {}}, "need the scores of each source"),
        ({"perplexity": {"en": {"n": 0, "tokens": 1, "bytes": 1, "trained": {}}}}, "en.n is 0, need a count"),
        ({"perplexity": {"en": {"n": 1, "tokens": 1, "bytes": 1}}}, "en has no score of the model"),
        ({"yesno": {"n": 1, "accuracy": 2.0, "accuracy_interval": [0, 1]}}, "yesno.accuracy is 2.0, need a share"),
        ({"preferences": {"preferences": {"n": 1}}}, "need an object with preferred"),
        ({"samples": [{"prompt": "x"}]}, "samples need prompt"),
    ],
)
def test_a_damaged_evaluation_is_named(folder, capsys, change, said):
    path = folder / "sft/evaluate.json"
    files.write_json(path, files.read_json(path) | change)
    assert main(["report", "--model", "prose", "--checkpoints", str(folder.parent)]) == 2
    heard = capsys.readouterr().err
    assert said in heard
    assert "make evaluate MODEL=prose" in heard


def test_stages_that_were_cut_otherwise_are_said_not_to_compare(folder, capsys):
    path = folder / "sft/evaluate.json"
    files.write_json(path, files.read_json(path) | {"stride": 128})
    assert "cut into other windows" in printed(folder, capsys)
