"""A recipe: one flat, strict YAML whose keys are dataclass fields, overridden by the command line.

May not know any stage. The file is turned into the very arguments that the command line takes, so there is one parser,
one set of types and one list of known keys; a key that no dataclass has is an error that names the nearest one.
"""

import dataclasses
import difflib
import json
import math
import re
from argparse import SUPPRESS, Namespace
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import yaml

# stage, or else verb -> the stage it starts from, where the recipe names none
PARENTS = {"continue": "pretrain", "gumbel": "pretrain", "sft": "pretrain", "dpo": "sft", "grpo": "sft"}


LARGEST = 1 << 14  # bytes of a recipe: ours take 2 000
DEEPEST = 20  # lists and mappings inside one another: of "[[[[" PyYAML takes squared time
PLAIN = (  # what a word without quotes is, if not a string: so `010` is ten, `1:30` no number, `no` a word, a date text
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false|True|False", list("tfTF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,18})", list("-+0123456789")),
    ("float", r"[-+]?(?=[0-9]+[.eE])[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][-+]?[0-9]{1,3})?", list("-+0123456789")),
)


class StrictLoader(yaml.SafeLoader):
    """Safe YAML of one flat mapping in which a key may stand only once (PyYAML keeps the last in silence).

    No aliases, which can make a short file a large one, no tags, and no types but those of JSON.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if self.depth == DEEPEST:
            raise mistake(event.start_mark, f"need `key: value` lines, got more than {DEEPEST} lists in lists in lists")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise mistake(event.start_mark, "need each value written out, got an anchor or alias")
        if getattr(event, "tag", None):
            raise mistake(event.start_mark, f"need a value without a tag, got {event.tag}")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:str":
                raise mistake(key_node.start_mark, "need words for keys")
            if key_node.value in seen:
                raise mistake(key_node.start_mark, f"key `{key_node.value}` stands twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


StrictLoader.yaml_implicit_resolvers = {}
for kind, pattern, beginnings in PLAIN:
    StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"^(?:{pattern})$"), beginnings)


def mistake(mark: yaml.Mark, what: str) -> ValueError:
    return ValueError(f"line {mark.line + 1}, column {mark.column + 1}: {what}")


def read(classes: Sequence[type], argv: Sequence[str], verb: str, more: str = "") -> tuple[Any, ...]:
    """One instance of each dataclass, from `--config FILE` and the `--key value` pairs of `argv`.

    Precedence: command line, file, place (see `places`), default. Raises ValueError (unknown key with the nearest one,
    wrong type, broken YAML) or FileNotFoundError; `--help` prints, with `more` in the end, and exits.
    """
    arguments = list(argv)
    config = config_path(arguments)
    parser = make_parser(classes, verb, more)
    fields = {field.name for cls in classes for field in dataclasses.fields(cls)}
    parser.set_defaults(**{key: value for key, value in places(config, verb).items() if key in fields})
    parser.where = f"{config}: "
    said = load(config)
    for key, value in said.items():
        if key not in fields:  # `config`, a flag or another spelling too, which a command line takes
            raise ValueError(f"{parser.where}{complaint(f'--{key}', [f'--{field}' for field in sorted(fields)])}")
        if isinstance(value, list) and len(value) > 1 and parser.takes_one(key):
            raise ValueError(f"{parser.where}need one value for `{key}`, got a list of {len(value)}")
    tokens = [token for key, value in said.items() for token in to_tokens(key, value, parser.where)]
    parser.reject_unknown(tokens)
    parser.where = ""
    parser.reject_unknown(arguments)
    namespace, _ = parser.parse_known_args(tokens + arguments)
    return tuple(build(cls, namespace, config) for cls in classes)


def peek(argv: Sequence[str], key: str) -> str | None:
    """What the command line or the file says of one key, before the keys are known; None: nothing."""
    arguments = list(argv)
    said = load(config_path(arguments)).get(key)
    for index, token in enumerate(arguments):
        if token == f"--{key}" and index + 1 < len(arguments):
            said = arguments[index + 1]
        elif token.startswith(f"--{key}="):
            said = token.partition("=")[2]
    return None if said is None else str(said)


def explicit(instances: Sequence[Any], argv: Sequence[str], verb: str) -> dict[str, Any]:
    """What was said rather than left to a default: keys of the file, the command line and the place, with values."""
    arguments = list(argv)
    config = config_path(arguments)
    said = [token[2:].split("=")[0].replace("-", "_") for token in arguments if token.startswith("--")]
    keys = {**places(config, verb), **load(config), **dict.fromkeys(said)}
    return {key: plain(getattr(one, key)) for key in keys for one in instances if hasattr(one, key)}


def plain(value: Any) -> Any:
    """What YAML can hold: the value of an enumeration, anything else as it is."""
    return value.value if isinstance(value, Enum) else value


def config_path(arguments: list[str]) -> Path | None:
    """Path given by `--config`, which is removed from `arguments`; None where there is none, ValueError for two."""
    if sum(token == "--config" or token.startswith("--config=") for token in arguments) > 1:
        raise ValueError("need --config once, got it twice: one recipe a run, and `--key value` for what differs")
    for index, token in enumerate(arguments):
        if token == "--config":
            if index + 1 == len(arguments):
                raise ValueError("need a file after --config, such as recipes/expression/sft.yaml")
            path = arguments[index + 1]
            del arguments[index : index + 2]
            return Path(path)
        if token.startswith("--config="):
            del arguments[index]
            return Path(token.removeprefix("--config="))
    return None


def places(config: Path | None, verb: str) -> dict[str, str]:
    """Paths that follow from the law "one word, five places", for a file at recipes/<model>/<stage>.yaml; else {}."""
    if config is None or config.parent.parent.name != "recipes":
        return {}
    root, model, stage = config.parent.parent.parent, config.parent.name, config.stem
    checkpoints = root / "checkpoints" / model
    known = {"dataset_name": root / "data" / model, "tokenizer_name_or_path": checkpoints / "tokenizer"}
    if parent := PARENTS.get(stage, PARENTS.get(verb)):
        goes_on = parent == "pretrain" and stage != "continue" and (config.parent / "continue.yaml").is_file()
        known["model_name_or_path"] = checkpoints / ("continue" if goes_on else parent)
    if verb != "evaluate":
        made = {"corpus": root / "data" / model, "fetch": root / "data" / "raw" / model}
        known["output_dir"] = made.get(verb, checkpoints / stage)
    return {key: str(path) for key, path in known.items()}


def load(config: Path | None) -> dict[str, Any]:
    """Keys and values of a recipe file; ValueError names the file and what is wrong with it."""
    if config is None:
        return {}
    if not config.is_file():
        raise FileNotFoundError(
            f"no recipe at {config}: --config takes a YAML file such as recipes/expression/sft.yaml"
        )
    if (size := config.stat().st_size) > LARGEST:
        raise ValueError(f"{config}: need a recipe of at most {LARGEST} bytes, got {size}")
    try:
        content = yaml.load(config.read_text(encoding="utf-8"), Loader=StrictLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{config}: not YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{config}: not UTF-8 at byte {error.start + 1}") from error
    except RecursionError as error:
        raise ValueError(f"{config}: need `key: value` lines, got lists in lists in lists") from error
    except (ValueError, OverflowError) as error:  # the last of an escape such as "\\UFFFFFFFF"
        raise ValueError(f"{config}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{config}: need `key: value` lines, got {type(content).__name__}")
    return content


def to_tokens(key: str, value: Any, where: str = "") -> Iterator[str]:
    """The command-line arguments that say the same as `key: value` (null says nothing: the default stays)."""
    if isinstance(value, list):
        if not value:  # a flag without a value is true
            raise ValueError(f"{where}need a list of words or numbers for `{key}`, got an empty one")
        if odd := [one for one in value if one is None or isinstance(one, list | dict) or str(one).startswith("--")]:
            raise ValueError(f"{where}need a list of words or numbers for `{key}`, got {str(odd[0])[:40]!r} in it")
        yield from (f"--{key}", *map(str, value))
    elif isinstance(value, dict):
        yield f"--{key}={json.dumps(value, ensure_ascii=False)}"
    elif value is not None:
        yield f"--{key}={value}"


def make_parser(classes: Sequence[type], verb: str, more: str = "") -> Any:
    """A transformers parser over `classes` that raises instead of exiting and knows the nearest key."""
    from transformers import HfArgumentParser  # here, because it costs a second that `--help` of others need not pay

    class Parser(HfArgumentParser):
        where = ""

        def error(self, message: str) -> NoReturn:
            raise ValueError(f"{self.where}{message}")

        def takes_one(self, key: str) -> bool:
            return self._option_string_actions[f"--{key}"].nargs in (None, "?")

        def reject_unknown(self, tokens: list[str]) -> None:
            _, unknown = self.parse_known_args(tokens)
            if unknown:
                raise ValueError(f"{self.where}{complaint(unknown[0], list(self._option_string_actions))}")

    parser = Parser(
        list[Any](classes),
        prog=f"arith-hf {verb}",
        usage=f"arith-hf {verb} --config recipes/<model>/{verb}.yaml [--key value ...]",
        epilog="Every key may stand in the recipe (`key: value`) or on the command line (`--key value`), which wins. "
        + more,
        allow_abbrev=False,
    )
    parser.register("type", int, whole)
    parser.register("type", float, real)
    parser.add_argument("--config", default=SUPPRESS, help="the recipe, a flat YAML file")
    return parser


def whole(text: str) -> int:
    """What `int` takes, but for digits of other scripts, spaces, underscores and numbers that no machine has."""
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def real(text: str) -> float:
    """What `float` takes, with the same exceptions, and no NaN or infinity."""
    if not text.isascii() or not re.fullmatch(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?", text) or math.isinf(float(text)):
        raise ValueError(text)
    return float(text)


def complaint(unknown: str, options: list[str]) -> str:
    """What is wrong with an argument that the parser did not take, with the nearest known key."""
    if not unknown.startswith("--"):
        return f"do not know what to do with `{unknown}`: values follow a `--key`"
    key = unknown[2:].split("=")[0]
    near = difflib.get_close_matches(key.replace("-", "_"), [option[2:] for option in options], n=1)
    return f"unknown key `{key}`" + (f": did you mean `{near[0]}`?" if near else " (see --help for the known ones)")


def build(cls: type, namespace: Namespace, config: Path | None) -> Any:
    """An instance of `cls`; what its own checks refuse becomes a ValueError that names the file."""
    values = {field.name: getattr(namespace, field.name) for field in dataclasses.fields(cls) if field.init}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{config}: {error}" if config else str(error)) from error
    except ZeroDivisionError as error:  # TRL divides by some keys before it looks at them
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        none = [key for key, value in values.items() if type(value) is int and value == 0 != defaults[key]]
        raise ValueError(
            f"{f'{config}: ' if config else ''}need more than 0 for {', '.join(none) or 'a key'}"
        ) from error
