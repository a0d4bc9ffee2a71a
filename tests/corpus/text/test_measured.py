"""No conversation and no preference to learn from holds what is measured."""

from pathlib import Path

import pytest
from datasets import disable_progress_bars, enable_progress_bars

from arith_hf import corpus, files
from arith_hf.corpus.text import Arguments

WORDS = 13
LEARNED = [f"{part}/{split}.jsonl" for part in ("sft", "preferences") for split in ("train", "validation")]


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


def prose(name: str, count: int = 40) -> str:
    """Words of its own for each name."""
    return " ".join(f"{name}x{place}" for place in range(count)) + "."


def talk(asked: str, said: str, system: str | None = None) -> dict:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return {"messages": [{"role": "system", "content": system}, *turns] if system else turns}


def pair(asked: str, chosen: str, rejected: str) -> dict:
    return {"prompt": asked, "chosen": chosen, "rejected": rejected}


PLAIN = {
    "documents": [{"text": prose(f"tale{number}")} for number in range(120)],
    "conversations": [talk(f"Question {number}?", prose(f"reply{number}")) for number in range(60)],
    "preferences": [pair(f"Which {n}?", prose(f"good{n}"), prose(f"bad{n}")) for n in range(60)],
    "yesno": [{"question": prose(f"ask{n}", 9), "passage": prose(f"page{n}"), "answer": True} for n in range(5)],
    "named": [{"deep": [{"text": prose(f"named{n}")}]} for n in range(5)],
}


def make(folder: Path, **keys) -> tuple[dict[str, list[dict]], dict]:
    """The rows of each file, and of each key what was left out; `keys` are more rows, or keys of the recipe."""
    paths = {}
    for what, rows in PLAIN.items():
        paths[what] = [str(folder / f"{what}.jsonl")]
        files.write_jsonl(paths[what][0], rows + keys.pop(what, []))
    said = {"source_paths": paths.pop("documents"), "evaluation_paths": paths.pop("named"), **paths, **keys}
    out = folder / "out"
    manifest = corpus.build(Arguments(output_dir=str(out), sources=["a"], validation_share=0.1, test_share=0.1, **said))
    told = {what: one["removed"].get("contaminated", 0) for what, one in manifest["pairs"].items()}
    for what, one in manifest["pairs"].items():
        assert one["read"] == sum(one["removed"].values()) + sum(one["kept"].values())
        written = {name: counts["rows"] for name, counts in manifest["files"].items()}
        part = {"conversations": "sft", "preferences": "preferences"}.get(what)
        assert not part or one["kept"]["train"] == written[f"{part}/train.jsonl"]
    return {name: list(files.read_jsonl(out / name)) for name in manifest["files"]}, told


def test_what_holds_words_of_an_evaluation_is_left_out_and_counted(tmp_path):
    """Thirteen in a row, or all of a shorter text; of every kind of evaluation, in any turn and either answer."""
    found, none = make(tmp_path / "plain")
    assert none == {"conversations": 0, "preferences": 0, "yesno": 0}
    held = {
        "document": found["test/a.jsonl"][0]["text"],
        "passage": found["test/yesno.jsonl"][0]["passage"],
        "question": found["test/yesno.jsonl"][0]["question"],
        "pair": found["test/preferences.jsonl"][0]["chosen"],
        "named": PLAIN["named"][0]["deep"][0]["text"],
    }
    talks, pairs = [], []
    for kind, text in held.items():
        some = " ".join(text.upper().split()[3 : 3 + WORDS]) if len(text.split()) > WORDS else text
        for number in range(8):  # some of which stand in a split that trains nobody
            one, other = f"{kind} {number}", prose(f"{kind}{number}")
            talks += [talk(f"Quote {one}: {some}", other), talk(f"Tell {one}", f"So: {some}, {other}")]
            pairs += [pair(f"Better {one}", f"{some}!", other), pair(f"Worse {one}", other, some)]
    less = " ".join(held["document"].split()[3 : 3 + WORDS - 1])
    apart = [talk(f"Short {n}", f"{less} {prose(f'own{n}')}") for n in range(20)]
    worse = found["test/preferences.jsonl"][0]["rejected"]
    apart += [talk(f"Right for {n}", f"{worse} {prose(f'other{n}')}") for n in range(20)]
    apart += [talk(f"System {n}", prose(f"mine{n}"), system=held["document"]) for n in range(20)]
    loose, unsaid = make(tmp_path / "loose", conversations=talks + apart, preferences=pairs, contamination_words=0)
    strict, told = make(tmp_path / "strict", conversations=talks + apart, preferences=pairs)
    quoting = [row | {"source": "conversations"} for row in talks] + pairs
    for name in LEARNED:
        assert strict[name] == [row for row in loose[name] if row not in quoting]
    assert strict["test/preferences.jsonl"] == loose["test/preferences.jsonl"]
    assert unsaid == none
    lost = {
        part: sum(row in quoting for name in LEARNED if part in name for row in loose[name])
        for part in ("sft", "preferences")
    }
    assert told == {"conversations": lost["sft"], "preferences": lost["preferences"], "yesno": 0}
    assert min(lost.values()) > 60


def test_nothing_left_is_an_error_that_says_why(tmp_path):
    quoted = [{"text": row["messages"][1]["content"]} for row in PLAIN["conversations"]]
    with pytest.raises(
        ValueError, match=r"nothing is left of `conversations` for sft/train\.jsonl: .*: contaminated 4"
    ):
        make(tmp_path, named=quoted)
