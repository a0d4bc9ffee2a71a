"""Hostile recipes: a value is taken for what it says, by libyaml and patterns of our own, or refused with its file."""

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mutations import fuzzed, hostile, tried, within

from arith_hf import recipe


@dataclass
class Arguments:
    output_dir: str = ""
    learning_rate: float = 1e-3
    num_range: list[int] = field(default_factory=lambda: [1, 20])
    reward_funcs: list[str] = field(default_factory=list)
    bf16: bool = True
    options: str | None = None
    max_steps: int = -1


def right(rng: random.Random) -> str:
    """A recipe as a person writes one."""
    lines = [
        f"output_dir: {rng.choice(['out', 'a b/c', '2026-11-22', 'no', '1.50', chr(39) + 'true' + chr(39)])}",
        f"learning_rate: {rng.choice(['1e-4', '0.1', '3', '1.0e-3  # why'])}",
        f"num_range: [{rng.randint(-9, 9)}, {rng.randint(10, 99)}]",
        f"bf16: {rng.choice(['true', 'false', 'no', 'null'])}",
        f"reward_funcs:\n  - {rng.choice(['exact_answer', 'a.b'])}\n  - coin",
        'options: {"a": 1, "b": "x"}',
        f"max_steps: {rng.choice(['-1', '300', '010'])}",
    ]
    rng.shuffle(lines)
    return "\n".join(lines[: rng.randint(1, 7)]) + "\n"


recipes = hostile(st.integers(0, 1 << 30).map(lambda seed: right(random.Random(seed))))

WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
REAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
YES, NO = {"yes", "true", "t", "y", "1"}, {"no", "false", "f", "n", "0"}
UNSURE = object()


def by_libyaml(data: bytes) -> dict[str, Any]:
    """Keys and values of the one flat mapping that libyaml's events tell; ValueError for anything else."""
    events = list(yaml.parse(data.decode("utf-8"), Loader=yaml.CSafeLoader))
    if any(getattr(one, "anchor", None) or getattr(one, "tag", None) for one in events):
        raise ValueError("anchor or tag")
    if sum(isinstance(one, yaml.DocumentStartEvent) for one in events) > 1:
        raise ValueError("two documents")
    inner = iter(events[2:-2])
    first = next(inner, None)
    if first is None or (isinstance(first, yaml.ScalarEvent) and plain(first) is None):
        return {}
    found = built(first, inner)
    if not isinstance(found, dict):
        raise ValueError("no mapping")
    return found


def built(event: Any, events: Any) -> Any:
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(built(item, events))
        return items
    if isinstance(event, yaml.MappingStartEvent):
        found: dict[str, Any] = {}
        while not isinstance(key := next(events), yaml.MappingEndEvent):
            word = built(key, events)
            if not isinstance(word, str) or word in found:
                raise ValueError("key")
            found[word] = built(next(events), events)
        return found
    return plain(event)


def plain(event: yaml.ScalarEvent) -> Any:
    """What a scalar says: quotes make a string of anything."""
    word = event.value
    if not event.implicit[0]:
        return word
    if word in ("", "~", "null"):
        return None
    if word in ("true", "True", "false", "False"):
        return word.lower() == "true"
    if re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,18})", word):
        return int(word)
    if re.fullmatch(r"[-+]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][-+]?[0-9]{1,3})?", word) and re.search("[.eE]", word):
        return float(word)
    return word


def typed(key: str, value: Any) -> Any:
    """The value of a key, as its type asks."""
    default = getattr(Arguments(), key)
    if value is None:
        return default
    if isinstance(value, list) and key not in ("num_range", "reward_funcs"):
        if len(value) != 1:
            raise ValueError("a list")
        (value,) = value
        if value is None or isinstance(value, list | dict):
            raise ValueError("a list")
        if str(value).startswith("-"):
            return UNSURE  # what begins with a minus, argparse may take for a key
    if key in ("num_range", "reward_funcs"):
        value = value if isinstance(value, list) else [value]
        if not value or any(one is None or isinstance(one, list) for one in value):
            raise ValueError("an empty or deep list")
        words = [as_text(one) for one in value]
        if any(word.startswith("-") and not WHOLE.fullmatch(word) for word in words):
            return UNSURE
        return [whole(word) for word in words] if key == "num_range" else words
    text = as_text(value)
    if key == "max_steps":
        return whole(text)
    if key == "bf16":
        if text.lower() not in YES | NO:
            raise ValueError("no bool")
        return text.lower() in YES
    if key == "learning_rate":
        if not REAL.fullmatch(text) or float(text) in (float("inf"), float("-inf")):
            raise ValueError("no float")
        return float(text)
    return text


def as_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def whole(text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise ValueError("no int")
    return int(text)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("recipes") / "sft.yaml"
    found.write_text("")
    recipe.read((Arguments,), ["--config", str(found)], "sft")  # imports what it needs
    return found


@pytest.fixture(scope="module", autouse=True)
def parser() -> Any:
    """One parser for all: to make it takes longer than to read."""
    made = recipe.make_parser((Arguments,), "sft")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "make_parser", lambda *_: made)
        yield


@fuzzed
@given(recipes)
def test_a_recipe_is_what_libyaml_says(path: Path, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    read, refused = tried(recipe.read, (Arguments,), ["--config", str(path)], "sft")
    if refused:
        assert str(path) in refused
        return
    (found,) = read
    said = by_libyaml(data)
    assert set(said) <= set(vars(found))
    for key, value in vars(found).items():
        second = typed(key, said.get(key))
        assert second is UNSURE or repr(value) == repr(second), key


@fuzzed
@given(st.integers(0, 1 << 30))
def test_what_a_person_writes_is_taken(path: Path, seed: int) -> None:
    path.write_text(text := right(random.Random(seed)))
    (found,) = recipe.read((Arguments,), ["--config", str(path)], "sft")
    said = by_libyaml(text.encode())
    assert {key: getattr(found, key) for key in said} == {key: typed(key, value) for key, value in said.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("num_range: &a [1]\noptions: *a\n", "line 1, column 12: need each value written out, got an anchor"),
        ("a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "got an anchor or alias"),
        ("max_steps: !!python/object/apply:os.system [ls]\n", "line 1, column 12: need a value without a tag"),
        ("? [a]\n: 1\n", "line 1, column 3: need words for keys"),
        ("1: 2\n", "need words for keys"),
        ("max_steps: 1\nmax_steps: 2\n", "line 2, column 1: key `max_steps` stands twice"),
        ('output_dir: "\\UFFFFFFFF"\n', "too large"),
        ("output_dir: " + "[" * 5000, "lists in lists"),
        ("output_dir: " + "x" * 100_000_000, "at most 16384 bytes, got 100000012"),
        ("output_dir: \0\n", "#x0000"),
        ("output_dir: a\tb: c\n\tmax_steps: 1\n", "line 1, column 14"),
        ("learning_rte:\n", "unknown key `learning_rte`: did you mean `learning_rate`?"),  # null says nothing
        ("config: other.yaml\n", "unknown key `config`"),
        ("learning-rate: 1\n", "unknown key `learning-rate`: did you mean `learning_rate`?"),
        ("output_dir=x: 1\n", "unknown key `output_dir`"),
        ("no_bf16: true\n", "unknown key `no_bf16`"),
        ("max_steps: 1:30\n", "1:30"),
        ("max_steps: 1_000\n", "1_000"),
        ("max_steps: 0x10\n", "0x10"),
        ("max_steps: ٣\n", "٣"),
        ("learning_rate: .nan\n", "nan"),
        ("learning_rate: nan\n", "nan"),
        ("learning_rate: 1e999\n", "inf"),
        ("bf16: []\n", "empty"),
        ("reward_funcs: [a, --max_steps=9]\n", "got '--max_steps=9' in it"),
        ("reward_funcs: [[a]]\n", "in it"),
        ("reward_funcs: [null]\n", "got 'None' in it"),
        ("max_steps: 1\n---\nmax_steps: 2\n", "single document"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_flat_recipe_is_refused(path: Path, text: str, said: str) -> None:
    path.write_text(text, encoding="utf-8")
    with within(1), pytest.raises(ValueError, match=re.escape(said)) as error:
        recipe.read((Arguments,), ["--config", str(path)], "sft")
    assert str(path) in str(error.value)


def test_other_bytes(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfmax_steps: 3\r\nbf16: no\r\n")
    assert recipe.load(path) == {"max_steps": 3, "bf16": "no"}
    path.write_bytes(b"max_steps: \xff\n")
    with pytest.raises(ValueError, match="not UTF-8 at byte 12"):
        recipe.load(path)
    with pytest.raises(FileNotFoundError, match="no recipe at"):
        recipe.load(tmp_path)
