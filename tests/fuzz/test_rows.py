"""Hostile JSON: a row is read as a second reader of another kind reads it, or refused with its line and column."""

import json
import random
import re
import time
import tracemalloc
from pathlib import Path

import json_reading
import pytest
from corruption import trace
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import changes, fuzzed, hostile, spoilt, tried, within

from arith_hf import files
from arith_hf.notation import expression as notation


def corpus_row(rng: random.Random) -> str:
    """A row as the corpus and the evaluation write it."""
    one = trace(rng)
    row = {
        "prompt": notation.prompt(notation.problem(one.problem)),
        "answer": rng.choice([one.answer, str(one.answer), None]),
        "level": rng.choice([rng.randrange(9), rng.random(), -1e-9, True]),
        "note": rng.choice(["é", '"\\/\b\f', "😀", {"a": [1, [], {}]}, ["\u2028"]]),
    }
    return json.dumps(row, ensure_ascii=rng.random() < 0.5)


seeds = st.integers(0, 1 << 30).map(random.Random)
rows = seeds.map(corpus_row)
BYTES = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe")


def as_bytes(text: str, place: int, odd: bytes | None) -> bytes:
    """Its bytes, one line, halves of surrogate pairs too, and perhaps bytes that are no UTF-8."""
    line = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
    return line if odd is None else line[: place % (len(line) + 1)] + odd + line[place % (len(line) + 1) :]


lines = st.builds(as_bytes, hostile(rows), st.integers(0, 1 << 20), st.none() | st.none() | st.sampled_from(BYTES))


@fuzzed
@example(b'{"a": 1, "a": 1}')
@example(b'{"a": NaN}')
@example(b'{"a": 1e999}')
@example(b'{"a": "\\ud800"}')
@example(b'{"a": "\\ud83d\\ude00"}')
@example(b"\xef\xbb\xbf{}")
@example(b'{"a": ' + b"9" * 5000 + b"}")
@example(b'{"a":' * 101 + b"1" + b"}" * 101)
@example(b'{"a":' * 99 + b"{}" + b"}" * 99)
@given(lines)
def test_a_row_is_what_another_reader_finds(line: bytes) -> None:
    found, refused = tried(files.parse_row, line, "rows.jsonl:7")
    if refused:
        assert refused.startswith("rows.jsonl:7: ")
        assert len(refused) < 300
    try:
        second = json_reading.row(line)
    except ValueError:
        second = None
    assert repr(found) == repr(second)
    if found is not None:
        again = json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        assert files.parse_row(again, "again") == found


@fuzzed
@given(st.lists(lines | rows.map(str.encode), min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_the_first_broken_line_is_named(folder: Path, some: list[bytes], ending: bytes) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(ending.join(some))
    good, broken = [], None
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            good += [json_reading.row(line)] if line.strip() else []
        except ValueError:
            broken = number
            break
    with within(1):
        found = []
        try:
            found.extend(files.read_jsonl(path))
            said = None
        except ValueError as error:
            said = int(re.match(rf"{re.escape(str(path))}:(\d+): ", str(error))[1])
    assert said == broken
    assert broken or repr(found) == repr(good)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@fuzzed
@given(rows, changes)
def test_a_json_file_is_what_another_reader_finds(folder: Path, right: str, how: list) -> None:
    text = spoilt(right, how)
    path = folder / "one.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found, refused = tried(files.read_json, path)
    if refused:
        assert refused.startswith(f"{path}:")
    second, wrong = tried(lambda: json_reading.reading(path.read_text("utf-8"), strict=False))
    if max(text.count("["), text.count("{")) < 200:  # deeper ones are refused where the stack ends
        assert (repr(found), not refused) == (repr(second), not wrong)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a" 1}', r"rows.jsonl:2: .*Expecting ':' delimiter at column 6"),
        (b'{"a": "\xff"}', "rows.jsonl:2: .*not UTF-8 .* at byte 8"),
        (b'{"a": 1, "b": 2, "a": 3}', "rows.jsonl:2: .*key 'a' stands twice"),
        (b'{"a": [NaN]}', "rows.jsonl:2: .*need a finite number, got NaN"),
        (b'{"a": 1e999}', "rows.jsonl:2: .*need a finite number, got 1e999"),
        (b'{"a": "\\udc00"}', "rows.jsonl:2: .*half of a surrogate pair"),
        (b'{"a": ' + b"1" * 5000 + b"}", "rows.jsonl:2: .*4300 digits"),
        (b"[" * 100_000, "rows.jsonl:2: .*recursion"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "rows.jsonl:2: .*at most 100 lists and objects inside one another"),
        (b"\xef\xbb\xbf{}", "rows.jsonl:2: .*BOM.* at column 1"),
    ],
)
def test_what_a_row_may_not_have_is_said(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\r\n' + line)
    with within(1), pytest.raises(ValueError, match=said):
        list(files.read_jsonl(path))


@pytest.mark.parametrize("filling", [b"1", b" ", b"\0", b"["])
def test_a_line_of_100_megabytes_is_refused_early(tmp_path: Path, filling: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"a": ')
        for _ in range(100):
            stream.write(filling * (1 << 20))
        stream.write(b'}\n{"a": 2}\n')
    tracemalloc.start()
    try:
        start = time.thread_time()
        with pytest.raises(ValueError, match=r"rows\.jsonl:1: need lines of at most 8388608 bytes"):
            list(files.read_jsonl(path))
        assert [number for number, _ in files.numbered(path)] == [1, 2]
        assert time.thread_time() - start < 2, "a second each"
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()
    with within(1), pytest.raises(ValueError, match=r"rows\.jsonl: need a JSON file of at most 67108864 bytes"):
        files.read_json(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for read in (files.read_json, lambda path: list(files.read_jsonl(path))):
        with pytest.raises(IsADirectoryError, match=tmp_path.name):
            read(tmp_path)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"list\.json: need a JSON object, got list"):
        files.read_object(tmp_path / "list.json")
