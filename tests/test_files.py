import doctest
import json
import math
import os
import time

import pytest

from arith_hf import files


def test_examples():
    assert doctest.testmod(files).failed == 0


@pytest.mark.parametrize(("value", "name"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_json_has_no_number_for_is_written_by_name(tmp_path, value, name):
    path = tmp_path / "rows.jsonl"
    files.write_jsonl(path, [{"loss": value, "text": "é"}, {"steps": (1, {"loss": [value]})}])
    files.write_json(tmp_path / "one.json", {"loss": value})
    assert list(files.read_jsonl(path)) == [{"loss": name, "text": "é"}, {"steps": [1, {"loss": [name]}]}]
    assert json.loads((tmp_path / "one.json").read_text()) == {"loss": name}
    assert repr(float(name)) == repr(value)


def test_a_mark_is_dated_at_the_start_of_its_stage(tmp_path):
    recipe, mark, started = tmp_path / "sft.yaml", tmp_path / "metrics.json", time.time()
    files.write_text(recipe, "edited: while it ran")
    files.write_mark(mark, {"steps": 1}, started)
    assert files.read_object(mark) == {"steps": 1}
    assert mark.stat().st_mtime == pytest.approx(started, abs=1e-6)
    os.utime(recipe, (started + 0.5, started + 0.5))
    assert mark.stat().st_mtime < recipe.stat().st_mtime


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    files.write_jsonl(path, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write_jsonl(path, rows())
    assert list(files.read_jsonl(path)) == [{"a": 1}]
    assert [one.name for one in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("line", "said"),
    [(b"{", "not a JSON object"), (b"[1]", "need a JSON object, got list"), (b'{"a": "\xff"}', "broken")],
)
def test_a_broken_line_is_named(tmp_path, line, said):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b"\n")
    with pytest.raises(ValueError, match=said) as error:
        list(files.read_jsonl(path))
    assert f"{path}:3" in str(error.value)


def test_broken_json_is_named_with_its_place(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{\n "a": }')
    with pytest.raises(ValueError, match=r"one\.json:2:7"):
        files.read_json(path)
