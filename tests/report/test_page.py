"""The page: all that the stages left is on it, escaped, and nothing of it is fetched from anywhere."""

import doctest
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import left
import pytest

from arith_hf import files, provenance, report
from arith_hf.report import charts, figures, page, stages, trust

VOID = {"meta", "link", "br", "img", "input"}
SECTIONS = ("pipeline", "accuracy", "difficulty", "faults", "belief", "training", "worked", "resources", "provenance")


class Page(HTMLParser):
    """Tags with their attributes, the text by the id of the section or element that it stands in, and open tags."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text, self.ids = [], [], [], {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("id")))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1][0] != "style":
            self.text.append(data)
            for _, name in self.open:
                self.ids[name] = self.ids.get(name, "") + data

    def has(self, *classes):
        return [attributes for _, attributes in self.tags if attributes.get("class") in classes]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return left.leave(tmp_path_factory.mktemp("checkpoints") / "made")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return left.leave(tmp_path_factory.mktemp("checkpoints") / "small", stages=("grpo",))


@pytest.fixture(scope="module")
def html(made):
    return page.render(made)


def change(folder, name, edit):
    """Edit the JSON of every stage."""
    for path in folder.glob(f"*/{name}"):
        content = files.read_json(path)
        edit(content)
        files.write_json(path, content)


def sections(html):
    return [attributes["id"] for tag, attributes in Page(html).tags if tag == "section"]


# What is on it


def test_every_section_is_there_and_says_what_the_files_say(made, html):
    shown, last = Page(html), files.read_json(made / "grpo/evaluate.json")["protocols"]["nontrivial"]
    assert sections(html) == list(SECTIONS)
    assert shown.open == []
    assert shown.ids["headline"] == f"{last['exact_match']:.1%}"
    low, high = last["exact_match_interval"]
    assert shown.ids["interval"] == f"{low:.1%} to {high:.1%}"
    assert shown.ids["every-step"] == f"{last['steps_match']:.1%}"
    assert (shown.ids["parameters"], shown.ids["core-time"]) == ("217,120", "5.0 min")
    for stage in left.STAGES:
        for name in ("nontrivial", "seed"):
            score = files.read_json(made / stage / "evaluate.json")["protocols"][name]["exact_match"]
            assert f"{score:.1%}" in shown.ids["accuracy"]
        assert f"arith-hf {stage} --note as usual" in shown.ids["provenance"]
    assert "8785ff2" in shown.ids["pipeline"]
    assert "77" * 32 in shown.ids["provenance"]
    assert shown.ids["worked"].startswith("\n10 worked problems")


def test_a_stage_and_what_was_made_from_it_show_the_same_hash_of_its_weights(tmp_path):
    folder = left.leave(tmp_path / "made", stages=("pretrain", "sft"))
    for stage in ("pretrain", "sft"):
        files.write_text(folder / stage / "model.safetensors", stage)
    pins = {"metrics": ("pretrain", provenance.signature(folder / "pretrain"))}
    pins["provenance"] = ("sft", {"parent_sha256": provenance.weights_hash(folder / "pretrain")})
    for name, (stage, more) in pins.items():
        path = folder / stage / f"{name}.json"
        files.write_json(path, files.read_json(path) | more)
    parent, child = (block["facts"] for block in page.content(stages.read(folder), "made")["provenance"])
    assert parent["weights"] == child["parent's weights"] == provenance.weights_hash(folder / "pretrain")
    assert parent["model.safetensors sha256"] == files.sha256(folder / "pretrain/model.safetensors")


def test_it_is_the_same_at_every_call(made, html):
    assert page.render(made) == html


def test_protocols_that_do_not_compare_have_drawings_of_their_own(made, html):
    drawn = list(figures.accuracy(stages.read(made)))
    assert [one.title for one in drawn] == ["nontrivial", "seed"]
    assert all(one.drawing.count('role="img"') == 1 for one in drawn)
    assert "do not compare with each other" in Page(html).ids["accuracy"]


def test_the_command_writes_it_beside_the_stages(made, capsys):
    report.main(["--model", "made", "--checkpoints", str(made.parent), "--format", "html"])
    assert (made / "report.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out == f"wrote {made / 'report.html'}: open it in a browser\n"


def test_of_a_reward_that_fades_by_design_the_others_are_drawn(tmp_path):
    """Beside the held-out answers stands what answers earn, a share; their sum with what fades would fall with that."""
    rows = left.log("grpo")
    for row in (one for one in rows if "reward" in one):
        fading = max(0.0, 0.9 - row["step"] / 100)
        row |= {"rewards/right_steps/mean": fading, "reward": row["reward"] + fading}
    usual, stopped = (
        {one.title: one for one in figures.training([stages.Stage("grpo", tmp_path, log=rows, recipe=recipe)])}
        for recipe in ("seed: 0\n", "seed: 0\nstop_at_fault: true\n")
    )
    assert usual["grpo: reward"].legend == (
        ("exact_answer, of what it trains on", "stage-grpo"),
        ("held-out exact match", "ink"),
        ("right_steps, which fades by design", "accent"),
    )
    assert ">100%<" in str(usual["grpo: reward"].drawing)
    assert [name for name, _ in usual["grpo: groups without a lesson"].legend] == [
        "groups all alike",
        "completions cut off",
    ]
    assert stopped["grpo: groups without a lesson"].legend == (), "the rollouts that stopped were not cut off"


def test_each_part_of_what_can_be_believed_is_drawn(made):
    drawn = {one.title: one for one in trust.belief(stages.read(made))}
    assert list(drawn) == [
        "grpo: does it know when it is right?",
        "k answers at temperature 0.8: is one right, every step?",
        "k answers at temperature 1.0: is one right?",
        "does it believe its own steps?",
        "can it be talked out of it?",
    ]
    block = files.read_json(made / "sft/evaluate.json")["protocols"]["nontrivial"]["sampling"]["1.0"]["pass_at"]["16"]
    table = dict((line[0], line[1:]) for line in drawn["k answers at temperature 1.0: is one right?"].table)
    assert table[""] == ("k = 1", "k = 2", "k = 4", "k = 8", "k = 16")
    assert table["sft: one right of k"][-1].startswith(f"{block['value']:.1%} (")
    assert [line[0] for line in drawn["can it be talked out of it?"].table[1:5]] == [
        f"off by 1, {stage}" for stage in left.STAGES
    ]


# What may be missing


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("by_level_and_size", ["difficulty"]),
        ("calibration", []),
        ("sampling", []),
        ("faithfulness", []),
        ("hints", []),
        ("outcomes", []),
        ("faults", []),
        ("steps_match", []),
        ("by_level", []),
    ],
)
def test_a_key_that_no_evaluation_has_is_left_out(small, tmp_path, key, gone):
    copy = shutil.copytree(small, tmp_path / "made")
    change(copy, "evaluate.json", lambda found: [block.pop(key, None) for block in found["protocols"].values()])
    assert sections(page.render(copy)) == [name for name in SECTIONS if name not in gone]


@pytest.mark.parametrize(
    ("name", "gone", "said"),
    [
        ("trainer_state.json", [], "No curves of grpo"),
        ("samples.jsonl", ["worked"], ""),
        ("recipe.yaml", [], ""),
        ("provenance.json", [], ""),
        ("metrics.json", [], ""),
        ("evaluate.json", ["accuracy", "difficulty", "faults", "belief"], "Not measured: grpo"),
    ],
)
def test_a_file_that_no_stage_left_is_left_out(small, tmp_path, name, gone, said):
    copy = shutil.copytree(small, tmp_path / "made")
    for path in copy.glob(f"*/{name}"):
        path.unlink()
    html = page.render(copy)
    assert sections(html) == [name for name in SECTIONS if name not in gone]
    assert said in "".join(Page(html).text)


def test_one_stage_alone_and_one_that_is_not_measured(tmp_path):
    one = left.leave(tmp_path / "one", stages=("pretrain",))
    assert "pretrain, the last stage" in " ".join("".join(Page(page.render(one)).text).split())
    (left.leave(tmp_path / "two", stages=("lora", "grpo")) / "grpo/evaluate.json").unlink()
    text = "".join(Page(page.render(tmp_path / "two")).text)
    assert "Not measured: grpo" in text
    assert "lora, the last stage" in " ".join(text.split())


def test_a_model_without_a_finished_stage_is_a_mistake_of_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing finished in .*none: run make pipeline MODEL=none"):
        page.render(tmp_path / "none")


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_a_library_that_is_missing_is_named_with_its_extra(small, library):
    words = ["report", "--model", "small", "--checkpoints", str(small.parent), "--format"]
    code = f"""import sys
sys.modules["{library}"] = None
from arith_hf.__main__ import main
assert main({[*words, "text"]}) == 0 and "torch" not in sys.modules
sys.exit(main({[*words, "html"]}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    wanted = f"arith-hf report: need {library} for --format html: run pip install 'arith-hf[report]'\n"
    assert (done.returncode, done.stderr) == (2, wanted)
    assert not (small / "report.html").exists()


# What is damaged


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("recipe.yaml", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("metrics.json", b"[]", "need a JSON object"),
        ("provenance.json", b'{"data": "data/m"}', "data cannot be 'data/m'"),
        ("trainer_state.json", b"[]", "need a JSON object"),
        ("trainer_state.json", b'{"log_history": {}}', "need a list of objects"),
        ("trainer_state.json", b'{"log_history": [{"step": "a"}]}', "step is 'a' in log_history, need a number"),
    ],
)
def test_a_damaged_file_is_named(small, tmp_path, name, content, said):
    path = shutil.copytree(small, tmp_path / "made") / "grpo" / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        page.render(tmp_path / "made")
    assert str(path) in str(caught.value)


def test_scores_that_do_not_compare_are_told_below_the_table(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "made")
    path = copy / "grpo/evaluate.json"
    found = files.read_json(path) | {"weights": {"model.safetensors": "77" * 32}}
    found["protocols"]["nontrivial"]["n"] = 16
    files.write_json(path, found)
    text = Page(page.render(copy)).ids["accuracy"]
    assert "Scores not verified to be of the weights that are there now: pretrain, sft, lora." in text
    assert "n = 400 (pretrain), 400 (sft), 400 (lora), 16 (grpo)" in text


# What must not be on it


def test_texts_of_the_files_stay_texts(tmp_path):
    naughty = left.leave(tmp_path / "<b>&amp;", stages=("pretrain", "grpo"), note=left.NAUGHTY)
    shown = Page(page.render(naughty))
    assert {"script", "img", "iframe", "b"} & {tag for tag, _ in shown.tags} == {"b"}
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
    assert shown.open == []
    assert shown.ids["provenance"].count(left.NAUGHTY) == 2 * 4
    assert left.NAUGHTY in shown.ids["worked"]
    assert "<b>&amp;" in shown.text


def test_words_in_a_drawing_stay_words():
    naughty = "<script>$x_1$ & </text>"
    spots = [charts.Spot(naughty, 0.5, 0.4, 0.6)]
    drawing = Page(charts.spots(spots, naughty, (0.0, 1.0)))
    assert "script" not in {tag for tag, _ in drawing.tags}
    assert drawing.open == []
    assert naughty in drawing.text
    assert dict(drawing.tags)["svg"]["aria-label"] == naughty


def test_it_loads_nothing(html):
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, name)
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert "@import" not in html
    assert "http" not in html


def test_drawings_have_no_colours_of_their_own(html):
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(drawings) > 30
    for drawing in drawings:
        assert not re.search(r"#[0-9a-f]{6}\b|DejaVu", drawing)
    assert set(re.findall(r"var\(--([\w-]+)\)", html)) <= set(re.findall(r"--([\w-]+):", html))


def test_the_examples_in_the_rooms():
    for room in (page, figures, charts):
        found = doctest.testmod(room)
        assert found.attempted
        assert not found.failed
