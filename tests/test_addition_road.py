"""Addition through the real stages, from a corpus to an answer: the written form goes along wherever the model goes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TRAINING, stage

from arith_hf import checkpoint, files, notation, rewards, solver, tokenizer
from arith_hf.__main__ import main
from arith_hf.model import ArithConfig, ArithForCausalLM

STYLES = {
    "addition/direct": {"style": "direct"},
    "addition/columns/think_length=24": {"style": "columns", "think_length": 24},
    "addition/reversed/align=1": {"style": "reversed", "align": 1},
}
NUMBERS = '{"line_stride": 0, "position_window": 2, "qk_norm": true}'
RECIPES = {
    "corpus": {
        "task": "addition",
        "max_digits": 3,
        "harder": ["cascades"],
        "num_pretrain": 200,
        "num_sft": 30,
        "num_prompts": 8,
        "num_validation": 12,
        "num_test": 12,
        "num_harder": 6,
        "num_proc": 1,
    },
    "tokenizer": {"kind": "char"},
    "pretrain": TRAINING | {"size": "tiny", "max_length": 128, "decisive_weight": 2.0, "max_steps": 2},
    "evaluate": {"protocol": ["test", "pairs", "harder"], "num_samples": [12, 20, 6], "max_new_tokens": 40},
}


@pytest.fixture(scope="module", params=STYLES)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def road(form: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipes/tiny, data/tiny, checkpoints/tiny/{tokenizer,pretrain}, and the checkpoint evaluated."""
    root = tmp_path_factory.mktemp("sums")
    (root / "recipes/tiny").mkdir(parents=True)
    for verb, keys in RECIPES.items():
        more = {"corpus": STYLES[form], "pretrain": {"config_overrides": NUMBERS} if "reversed" in form else {}}
        (root / "recipes/tiny" / f"{verb}.yaml").write_text(yaml.safe_dump(keys | more.get(verb, {})))
    for verb in ("corpus", "tokenizer", "pretrain"):
        assert stage(root, verb) == 0, verb
    assert stage(root, "evaluate", "--checkpoint", str(root / "checkpoints/tiny/pretrain")) == 0
    return root


@pytest.fixture(scope="module")
def trained(road: Path) -> Path:
    return road / "checkpoints/tiny/pretrain"


# The form goes along


def test_the_form_travels_with_the_tokenizer_and_the_checkpoint(
    form: str, road: Path, trained: Path, tmp_path: Path
) -> None:
    assert files.read_json(road / "data/tiny/manifest.json")["task"] == form
    for folder in (road / "checkpoints/tiny/tokenizer", trained):
        assert files.read_json(folder / "tokenizer_config.json")["task"] == form
        assert checkpoint.form_of(folder) == notation.of(form)
    model, known = checkpoint.load(trained)
    assert tokenizer.form_of(known) == notation.of(form)
    model.save_pretrained(tmp_path)
    known.save_pretrained(tmp_path)
    assert checkpoint.form_of(tmp_path) == tokenizer.form_of(checkpoint.load(tmp_path)[1]) == notation.of(form)


def test_lines_begin_behind_plus_and_equals(form: str, trained: Path) -> None:
    model, known = checkpoint.load(trained)
    assert known.convert_ids_to_tokens(tokenizer.line_tokens(known)) == ["+", "="]
    numbers = {"line_stride": 0, "position_window": 2, "line_token_ids": tokenizer.line_tokens(known)}
    expected = numbers if "reversed" in form else dict.fromkeys(numbers)
    assert {name: getattr(model.config, name) for name in numbers} == expected


# The evaluation


def test_the_evaluation_counts_carries_tokens_and_steps(form: str, road: Path, trained: Path) -> None:
    protocols = files.read_json(trained / "evaluate.json")["protocols"]
    assert {name: block["n"] for name, block in protocols.items()} == {"test": 12, "pairs": 20, "cascades": 6}
    samples = list(files.read_jsonl(trained / "samples.jsonl"))
    for name, block in protocols.items():
        rows = [row for row in samples if row["protocol"] == name]
        carries = [row["carries"] for row in rows]
        assert {key: part["n"] for key, part in block["by_carries"].items()} == {
            str(count): carries.count(count) for count in sorted(set(carries))
        }
        agreed = [row["agreed"] for row in rows]
        assert block["token_accuracy"] == pytest.approx(sum(agreed) / len(agreed), abs=1e-4)
        assert 0 <= block["token_accuracy"] <= 1
        assert (block["step_accuracy"] is None) == ("columns" not in form)
        assert block["step_accuracy"] is None or 0 <= block["step_accuracy"] <= 1
    assert set(protocols["pairs"]["by_kind"]) <= {"train", "validation", "test"}
    assert "train" in protocols["pairs"]["by_kind"]
    assert set(protocols["test"]["by_kind"]) == {"valid"}
    text = (trained / "evaluate.txt").read_text()
    assert text.count("right one by one: tokens under teacher forcing") == 3
    assert text.count(", steps ") == (3 if "columns" in form else 0)
    assert re.search(r"^  carries 0 ", text, re.MULTILINE)


def test_the_share_of_right_tokens_is_that_of_a_forward_pass(form: str, trained: Path) -> None:
    """Of each row alone, without a batch or padding."""
    model, known = checkpoint.load(trained)
    for row in files.read_jsonl(trained / "samples.jsonl"):
        if row["protocol"] != "test":
            continue
        prompt = notation.of(form).prompt(row["problem"])
        begun = known(prompt)["input_ids"]
        ids = torch.tensor([known(prompt + notation.of(form).solution(prompt))["input_ids"] + [known.eos_token_id]])
        with torch.no_grad():
            best = model(ids[:, :-1]).logits[0].argmax(-1)
        assert row["agreed"] == round((best == ids[0, 1:])[len(begun) - 1 :].float().mean().item(), 4)


def test_a_protocol_without_malformed_problems_needs_none(road: Path, trained: Path, tmp_path: Path) -> None:
    more = ["--protocol", "validation", "--num_samples", "3", "--output_dir", str(tmp_path)]
    assert stage(road, "evaluate", "--checkpoint", str(trained), *more) == 0
    assert files.read_json(tmp_path / "evaluate.json")["protocols"]["validation"]["n"] == 3


# The solver


def test_the_solver_takes_what_a_person_types(form: str, trained: Path) -> None:
    asked = ["12+34=", "012 + 34", "7+", "1+2+3="]
    found = solver.Solver.from_pretrained(trained).solve(asked, max_new_tokens=30)
    assert [row["problem"] for row in found] == asked
    assert found[0]["completion"] == found[1]["completion"]
    for row in found:
        read = notation.of(form).read_answer(row["completion"]) if row["finished"] else None
        assert row["answer"] == read


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("5*3", "unknown character '*' at column 2: need digits, + and = only"),
        ("12-3=", "unknown character '-' at column 3: need digits, + and = only"),
        ("12+34=46", "need nothing behind =, got '46': leave it out"),
        ("12", "need a sum such as 12+34=, got '12': type numbers with + between them"),
    ],
)
def test_what_is_no_sum_is_one_line(trained: Path, typed: str, said: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        solver.Solver.from_pretrained(trained).solve(typed)
    assert main(["solve", "--checkpoint", str(trained), typed]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"arith-hf solve: {said}"


# A model that knows a few sums by heart: what it writes is known to the last token

KNOWN = {"12+34=": 46, "658+189=": 847, "999+1=": 1000, "5+5+5=": 15}
OPEN = ("7+", "7+21=", 28)  # typed, what the model completes it to, and the sum


@pytest.fixture(scope="module", params=["addition/direct", "addition/columns", "addition/reversed"])
def pupil(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    written = notation.of(request.param)
    known = tokenizer.train("char", task=request.param)
    prompts = [written.ask(one) for one in (*KNOWN, OPEN[1])]
    texts = [prompt + written.solution(prompt) + written.EOS for prompt in prompts]
    ids = known(texts, padding=True, padding_side="right", return_tensors="pt")["input_ids"]
    labels = ids.masked_fill(ids == known.pad_token_id, -100)
    special = {f"{name}_token_id": getattr(known, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    torch.manual_seed(0)
    model = ArithForCausalLM(ArithConfig.from_size("tiny", vocab_size=len(known), **special))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(300):
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.25:  # the first digits can only be guessed
            right = [one.text for one in solver.generate(model, known, prompts, max_new_tokens=60)]
            if right == [written.solution(prompt) for prompt in prompts]:
                break
    path = tmp_path_factory.mktemp("knows") / "checkpoint"
    model.save_pretrained(path)
    known.save_pretrained(path)
    return path


def test_answers_are_the_right_way_round_in_every_style(pupil: Path, capsys: pytest.CaptureFixture) -> None:
    found = solver.Solver.from_pretrained(pupil).solve(list(KNOWN))
    assert [row["answer"] for row in found] == list(KNOWN.values())
    assert main(["solve", "--checkpoint", str(pupil), "658 + 189"]) == 0
    shown = capsys.readouterr().out
    assert "Expression: 658 + 189\n" in shown
    assert "\nFinal Result: 847\n" in shown
    assert ("  8+9=17\n  5+8+1=14\n  6+1+1=8\n" in shown) == ("columns" in checkpoint.form_of(pupil).name)


def test_rows_of_a_file_keep_their_order_and_mistakes(pupil: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "sums.jsonl", tmp_path / "answers.jsonl"
    files.write_jsonl(source, ({"problem": one} for one in ("658+189=", "5*3", "12+34=")))
    assert main(["solve", "--checkpoint", str(pupil), "--input", str(source), "--output", str(target)]) == 0
    rows = list(files.read_jsonl(target))
    assert [row["answer"] for row in rows] == [847, None, 46]
    assert rows[1]["error"] == "line 2: unknown character '*' at column 2: need digits, + and = only"


def test_an_open_sum_is_completed_and_answered(pupil: Path) -> None:
    (row,) = solver.Solver.from_pretrained(pupil).solve(OPEN[0])
    written = checkpoint.form_of(pupil)
    assert written.posed(written.ask(OPEN[0]) + row["completion"]) == OPEN[1]
    assert (row["finished"], row["answer"]) == (True, OPEN[2])


def choices(shown: str) -> list[tuple[str, list[tuple[str, float]]]]:
    """The lines of `--top_tokens`: what was written, and the tokens beside it with their percentages."""
    lines = [line for line in shown.splitlines() if re.match(r"  '[^']+' .*%$", line)]
    found = []
    for line in lines:
        (written,) = re.findall(r"^  '([^']+)'", line)
        told = re.findall(r"'([^']+)' ([0-9.]+)%", line[2 + len(repr(written)) :])
        found.append((written, [(token, float(share)) for token, share in told]))
    return found


def test_top_tokens_shows_three_choices_a_token_the_one_written_first(
    pupil: Path, capsys: pytest.CaptureFixture
) -> None:
    known = checkpoint.load(pupil)[1]
    assert main(["solve", "--checkpoint", str(pupil), "--top_tokens", "3", "658+189="]) == 0
    found = choices(capsys.readouterr().out)
    written = checkpoint.form_of(pupil)
    right = known.tokenize(written.solution(written.ask("658+189=")))
    assert [one for one, _ in found] == [*right, "<end>"]
    for one, told in found:
        tokens, shares = zip(*told, strict=True)
        assert len(set(tokens)) == 3
        assert tokens[0] == one, "greedy decoding writes the likeliest"
        assert list(shares) == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 100.2
    assert main(["solve", "--checkpoint", str(pupil), "658+189="]) == 0
    assert choices(capsys.readouterr().out) == []


def test_next_tokens_are_chances_behind_what_was_written(pupil: Path) -> None:
    """Of a completion that the model would not write: behind a wrong token it is asked all the same."""
    asked = solver.Solver.from_pretrained(pupil)
    right = asked.form.solution(asked.prompt("658+189="))
    wrong = right[:-1] + "0"
    ids = [*asked.tokenizer(wrong, add_special_tokens=False)["input_ids"], asked.tokenizer.eos_token_id]
    found = asked.next_tokens("658+189=", ids, 1000)
    last = found[-2]
    assert (last[0], last[1][0][0]) == ("0", right[-1])
    assert all(sum(share for _, share in told) == pytest.approx(1, abs=1e-4) for _, told in found)
    (done,) = solver.generate(
        asked.model, asked.tokenizer, [asked.prompt("658+189=")], max_new_tokens=90, drafts=[wrong]
    )
    agreeing = [told[0][0] == token for token, told in found]
    assert done.agreed == sum(agreeing) / len(agreeing) < 1
    assert done.text == right


def test_a_right_draft_agrees_in_every_token(pupil: Path) -> None:
    asked = solver.Solver.from_pretrained(pupil)
    prompts = [asked.prompt(one) for one in KNOWN]
    drafts = [asked.form.solution(prompt) for prompt in prompts]
    done = solver.generate(asked.model, asked.tokenizer, prompts, max_new_tokens=90, drafts=drafts)
    assert [(one.text, one.agreed) for one in done] == [(draft, 1.0) for draft in drafts]
    plain = solver.generate(asked.model, asked.tokenizer, prompts, max_new_tokens=90)
    assert {one.agreed for one in plain} == {None}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--top_tokens", "-1", "1+2="], "need --top_tokens >= 0"),
        (["--top_tokens", "3", "--input", "in.jsonl", "--output", "out.jsonl"], "none with --input"),
    ],
)
def test_top_tokens_that_cannot_be_shown_are_refused(
    pupil: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["solve", "--checkpoint", str(pupil), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


# The reward


def test_a_reward_reads_each_completion_in_its_own_form() -> None:
    rows = [
        ("748", "847", "addition/reversed", 1.0),
        ("847", "847", "addition/reversed", 0.0),
        ("847", "847", "addition/direct", 1.0),
        ("0748", "8470", "addition/reversed/zero_pad=3", 1.0),
        ("847", "847", "addition/columns", 0.0),  # no working
        ("<think>1+2=3</think>3", "3", "addition/columns", 1.0),
        ("<think>\n</think>\nFinal Result: 12", "12", "expression", 1.0),
        ("12", "12", "expression", 0.0),
        ("", "0", "addition/direct", 0.0),
    ]
    completions, answers, forms, paid = map(list, zip(*rows, strict=True))
    assert rewards.exact_answer(completions=completions, answer=answers, task=forms) == paid
