"""A corpus of text that is interrupted goes on where it was, and is in the end the one that never was."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from datasets import disable_progress_bars, enable_progress_bars

from arith_hf import corpus, files
from arith_hf.corpus.text import DRAFT, Arguments, gather, sources

ROOT = Path(__file__).parents[3]
WORDS = [f"{head}{tail}" for head in "bdfgklmnprst" for tail in ("a", "e", "i", "o", "u", "an", "en", "ol", "ur")]


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    disable_progress_bars()
    yield
    enable_progress_bars()


def texts(name: str, count: int) -> list[str]:
    """Documents of which some are short, some the same or nearly the same as an earlier one, or quote it."""
    rng = random.Random(name)
    found: list[str] = []
    for number in range(count):
        words = [f"{name}{number}", *rng.choices(WORDS, k=rng.randint(5, 120))]
        kind = rng.random()
        if found and kind < 0.1:
            words = rng.choice(found).upper().split()
        elif found and kind < 0.2:
            words = [*rng.choice(found).split()[:-1], "other"]
        elif found and kind < 0.3:
            words = [*rng.choice(found).split()[:20], *rng.choices(WORDS, k=60)]
        found.append(" ".join(words))
    return found


def recipe(folder: Path, count: int = 150) -> dict:
    """The keys of a corpus of three sources, one of files of two kinds, with all that can remove a document."""
    for name in ("a", "b", "c"):
        found = texts(name, count)
        files.write_jsonl(folder / name / "rows.jsonl", [{"text": text} for text in found[20:]])
        for number, text in enumerate(found[:20] if name == "b" else ()):
            files.write_text(folder / name / f"{number}.txt", text)
    talks = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(60)]
    files.write_jsonl(folder / "talks.jsonl", talks)
    return {
        "sources": ["a", "b", "c"],
        "source_paths": [str(folder / name) for name in ("a", "b", "c")],
        "source_budgets": [0, 0, 100 * count],
        "conversations": [str(folder / "talks.jsonl")],
        **{"min_words": 12, "num_test": 9, "validation_share": 0.1, "test_share": 0.1, "shard_size": 15_000},
    }


def make(folder: Path, **keys) -> dict:
    return corpus.build(Arguments(output_dir=str(folder), **keys))


def written(folder: Path) -> dict[str, bytes]:
    """Every file but those that tell of the run."""
    apart = ("provenance.json", files.LOCK)
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in apart)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict, dict[str, bytes], bytes, bytes]:
    """The keys of a recipe, its corpus, and the draft and provenance.json that a run leaves before it writes."""
    root = tmp_path_factory.mktemp("whole")
    keys = recipe(root / "raw")
    make(root / "m", **keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arith_hf.corpus.text.documents.write_shards", interrupted)
        with pytest.raises(KeyboardInterrupt, match="the same command goes on behind the last document"):
            make(root / "other" / "m", **keys)
    left = (root / "other" / "m" / name for name in (DRAFT, "provenance.json"))
    return keys, written(root / "m"), *(path.read_bytes() for path in left)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def killed(folder: Path, draft: bytes, made: bytes) -> Path:
    """A folder as a kill leaves it."""
    (folder / DRAFT).parent.mkdir(parents=True)
    (folder / DRAFT).write_bytes(draft)
    (folder / "provenance.json").write_bytes(made)
    return folder


def test_the_trial_removes_documents_for_every_reason(whole):
    told = files.parse_row(b"".join(whole[1]["manifest.json"].splitlines()), "manifest")["sources"]
    reasons = {reason for one in told.values() for reason in one["removed"]}
    assert reasons == {"min_words", "exact_duplicates", "near_duplicates", "contaminated", "beyond_num_test"}
    assert told["c"]["read"]["documents"] < 130 == told["a"]["read"]["documents"], "its budget ends it"


@pytest.mark.parametrize("share", [0, 0.001, *(random.Random(5).random() for _ in range(14)), 1])
def test_a_draft_that_is_cut_anywhere_is_gone_on_with(share, whole, tmp_path, monkeypatch, caplog):
    keys, expected, draft, made = whole
    left = draft[: round(share * len(draft))]
    judged = []
    once = gather.judged
    monkeypatch.setattr(gather, "judged", lambda *given: judged.append(1) or once(*given))
    make(killed(tmp_path / "m", left, made), **keys)
    assert written(tmp_path / "m") == expected
    before = sum(b'"read"' in line for line in left.splitlines(keepends=True)[1:] if line.endswith(b"\n"))
    assert len(judged) + before == draft.count(b'"read"'), "none is judged again"
    assert (f"going on from {tmp_path / 'm' / DRAFT}, in which {before:,} " in caplog.text) == (before > 0)


@pytest.mark.parametrize(("whole_key", "damaged"), [(b'"split"', b'"spl!t"'), (b'"read"', b'"raed"')])
def test_a_draft_is_gone_on_with_up_to_a_line_that_says_something_else(whole_key, damaged, whole, tmp_path):
    keys, expected, draft, made = whole
    place = draft.index(whole_key, len(draft) // 2)
    left = draft[:place] + damaged + draft[place + len(damaged) :]
    make(killed(tmp_path / "m", left, made), **keys)
    assert written(tmp_path / "m") == expected


@pytest.mark.parametrize("change", ["recipe", "file", "new file"])
def test_an_interrupted_corpus_of_something_else_is_not_gone_on_with(change, whole, tmp_path, caplog):
    _, _, draft, made = whole
    keys = recipe(tmp_path / "raw")
    keys |= {"min_words": 30} if change == "recipe" else {}
    if change == "file":
        files.write_jsonl(tmp_path / "raw" / "a" / "rows.jsonl", [{"text": text} for text in texts("other", 150)])
    if change == "new file":
        files.write_text(tmp_path / "raw" / "a" / "new.txt", texts("new", 1)[0])
    make(tmp_path / "fresh" / "m", **keys)
    head, rest = draft.split(b"\n", 1)
    moved = head.replace(str(Path(whole[0]["source_paths"][0]).parent).encode(), str(tmp_path / "raw").encode())
    make(killed(tmp_path / "m", moved + b"\n" + rest, made), **keys)
    assert written(tmp_path / "m") == written(tmp_path / "fresh" / "m")
    named = "min_words" if change == "recipe" else "files"
    assert f"of an interrupted corpus of something else ({named}" in caplog.text
    assert "starting over" in caplog.text


def test_what_is_asked_of_documents_later_may_change(whole, tmp_path, caplog):
    """Else hours of reading were lost to an evaluation that had been forgotten."""
    keys, _, draft, made = whole
    asked = {"text": files.parse_row(next(row for row in draft.splitlines() if b'"train"' in row), "draft")["text"]}
    files.write_jsonl(tmp_path / "asked.jsonl", [asked])
    keys = keys | {"evaluation_paths": [str(tmp_path / "asked.jsonl")], "shard_size": 40_000}
    make(tmp_path / "fresh" / "m", **keys)
    make(killed(tmp_path / "m", draft, made), **keys)
    assert written(tmp_path / "m") == written(tmp_path / "fresh" / "m")
    assert "going on from" in caplog.text


def test_the_draft_of_text_is_nothing_to_a_corpus_of_problems(whole, tmp_path):
    folder = killed(tmp_path / "m", *whole[2:])
    argv = ["--task", "expression", "--output_dir", str(folder), "--num_pretrain", "20", "--num_sft", "0"]
    corpus.main(
        [*argv, *(word for name in ("prompts", "validation", "test", "harder") for word in (f"--num_{name}", "9"))]
    )
    assert not (folder / DRAFT).exists()


@pytest.mark.parametrize("passed", [0, 1, 7, 29, 30, 31, 45, 59, 60, 61])
@pytest.mark.parametrize("kinds", [("jsonl",), ("txt",), ("jsonl", "txt")])
def test_rows_that_were_passed_are_left_out(kinds, passed, tmp_path):
    for number in range(2):
        for kind in kinds:
            if kind == "jsonl":
                files.write_jsonl(tmp_path / f"{number}.jsonl", [{"text": f"{number} {n}"} for n in range(30)])
            else:
                for part in range(30):
                    files.write_text(tmp_path / f"{number}-{part:02d}.txt", f"{number} {part}")
    listed = list(sources.texts(str(tmp_path), "text", "train"))
    assert len(listed) == 60 * len(kinds)
    assert list(sources.texts(str(tmp_path), "text", "train", passed)) == listed[passed:]


# The real command


def start(folder: Path, keys: dict) -> subprocess.Popen:
    files.write_text(folder / "corpus.yaml", files.to_json({"task": "text", **keys}))  # JSON is YAML
    command = [sys.executable, "-m", "arith_hf", "corpus", "--config", "corpus.yaml", "--output_dir", "m"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(folder: Path, size: int, run: subprocess.Popen) -> None:
    """Until the draft has so many bytes, or the run has ended."""
    while run.poll() is None:
        with suppress(FileNotFoundError):
            if (folder / "m" / DRAFT).stat().st_size >= size:
                return
        time.sleep(0.001)


@pytest.mark.slow
def test_a_corpus_that_is_killed_again_and_again_is_in_the_end_the_same(tmp_path):
    keys = recipe(tmp_path / "raw", 1500)
    make(tmp_path / "never" / "m", **keys)
    rng = random.Random(time.time_ns())
    ends = []
    for share in (0.2, 0.5, 0.8):
        run = start(tmp_path, keys)
        wait_for(tmp_path, round((share + rng.uniform(-0.15, 0.15)) * 800_000), run)
        run.send_signal(signal.SIGKILL if share < 0.8 else signal.SIGINT)
        ends.append((run.wait(), run.communicate()[1]))
    assert [status for status, _ in ends] == [-signal.SIGKILL, -signal.SIGKILL, 1]
    assert "the same command goes on behind the last document that was judged" in ends[-1][1]
    assert not (tmp_path / "m" / "manifest.json").exists()
    last = start(tmp_path, keys)
    said = last.communicate()[1]
    assert (last.returncode, "going on from m/pretrain" in said) == (0, True), said
    assert written(tmp_path / "m") == written(tmp_path / "never" / "m")
