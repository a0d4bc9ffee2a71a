"""The lineage of a checkpoint: from what it was made, back to the corpus, with every hash on the way compared again.

May not load weights into a model or mend anything: it reads provenance.json, metrics.json, manifest.json and the files
that they pin. The exit status is 1 where a link is broken. What cannot be compared, as it is not here or was never
recorded, is said and breaks nothing.

    arith-hf lineage checkpoints/<model>/grpo [--format json]
"""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from arith_hf import checkpoint, provenance
from arith_hf.lineage import checks
from arith_hf.lineage.checks import Check
from arith_hf.provenance import Row, brief, short

WIDTH = 120


@dataclass(frozen=True)
class Link:
    """One folder or file of the chain.

    record: what is known of how it was made. ancestors: the same of all that it was made from. near: the folder from
    which the paths that it names are looked for. found: whether anything is there.
    """

    path: str
    near: Path
    found: bool
    record: Row
    ancestors: list[Row]
    checks: list[Check] = field(default_factory=list)


# The chain


def trace(folder: Path) -> list[Link]:
    """The links of a checkpoint, a tokenizer or a corpus: models from the newest to the oldest, then what they read."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: name a checkpoint, such as checkpoints/expression/grpo")
    if not any((folder / name).is_file() for name in (provenance.NAME, "manifest.json")):
        raise FileNotFoundError(f"no {provenance.NAME} in {folder}: nothing says where it comes from")
    links = [examine(Link(str(folder), folder, True, {"stage": folder.name}, []))]
    while parent := follow(links[-1], links[-1].record.get("parent")):
        if any(same(parent, one) for one in links):
            text = f"names {parent.path} as its parent, which comes from it"
            fault = Check(checks.shown(links[-1].near / provenance.NAME), "broken", text)
            links[-1] = replace(links[-1], checks=[*links[-1].checks, fault])
            break
        links.append(examine(parent))
    for key in ("tokenizer", "data"):
        for link in list(links):
            named = link.record.get(key)
            other = follow(link, named.get("path") if isinstance(named, dict) else named)
            if other and not any(same(other, one) for one in links):
                links.append(examine(other))
    return links


def follow(link: Link, named: Any) -> Link | None:
    """What a link names, not examined yet; where nothing is there, what the link's ancestors tell of it."""
    if not isinstance(named, str) or not named:
        return None
    known = [one for one in link.ancestors if one.get("path") == named]
    record = known[-1] if known else {"stage": Path(named).name}
    place = checks.find(named, link.near)
    return Link(named, place or link.near, place is not None, record, link.ancestors)


def same(one: Link, other: Link) -> bool:
    if one.found and other.found:
        return one.near.resolve() == other.near.resolve()
    return one.found == other.found and one.path == other.path


def examine(link: Link) -> Link:
    """The link with its own account of itself, if it can be read, and with its checks."""
    if not link.found:
        why = "nothing is there (moved or deleted): its hashes are not compared until it is put back"
        return replace(link, checks=[Check(link.path, "unchecked", why)])
    if link.near.is_file():
        return link  # its hash is compared where it is named
    folder, path = link.near, checks.shown(link.near / provenance.NAME)
    try:
        made = checks.shaped(folder / provenance.NAME)
    except ValueError as error:
        fault = Check(path, "broken", f"cannot be read ({error}): {checks.repair(folder)}")
        return replace(link, checks=[fault, *checks.inspect(folder, {}, [])])
    if not made:
        unknown = Check(path, "unchecked", "is not there: nothing says what made this")
        return replace(link, checks=[unknown, *checks.inspect(folder, {}, [])])
    before = [one for one in made.get("ancestors") or [] if isinstance(one, dict) and not checks.misshapen(one)]
    compared = list(checks.inspect(folder, made, before))
    return replace(link, record=account(folder, made), ancestors=before, checks=compared)


def account(folder: Path, made: Row) -> Row:
    """What a folder says of itself, its results with it where they can be read."""
    try:
        checks.shaped(folder / "metrics.json")
    except ValueError:
        return {key: value for key, value in made.items() if key != "ancestors"}
    return provenance.record(folder)


# What is printed


def report(folder: Path) -> Row:
    links = trace(folder)
    verdicts = [check.verdict for link in links for check in link.checks]
    return {
        "folder": str(folder),
        **{verdict: verdicts.count(verdict) for verdict in ("verified", "broken", "unchecked")},
        "links": [
            {**link.record, "path": link.path, "found": link.found, "checks": [asdict(one) for one in link.checks]}
            for link in links
        ],
    }


def as_text(told: Row) -> str:
    counts = f"{told['verified']} hashes agree, {told['broken']} broken, {told['unchecked']} not checked"
    lines = [f"{told['folder']}: {len(told['links'])} links, {counts}"]
    for link in told["links"]:
        lines += ["", f"{link.get('stage')}  {link['path']}", *(wrapped("  ", one) for one in facts(link) if one)]
        for verdict, mark in (("broken", "  BROKEN "), ("unchecked", "  not checked: ")):
            lines += [wrapped(mark, f"{c['file']} {c['said']}") for c in link["checks"] if c["verdict"] == verdict]
    return "\n".join(lines)


def facts(link: Row) -> Iterator[str]:
    """What made a link: the command; when, how long, by which code; from what; and how many of its hashes agree."""
    yield str(link.get("command") or "")
    tokens, seconds, seed = (link.get(key) for key in ("tokens", "seconds", "seed"))
    run = [
        str(link.get("started") or "").replace("T", " ").replace("+00:00", " UTC"),
        "" if seconds is None else f"{seconds} s" + (" since it was resumed" if link.get("resumed_from") else ""),
        "" if tokens is None else f"{tokens} tokens",
        f"{flops:.2g} FLOPs" if isinstance(flops := link.get("flops"), (int, float)) else "",
        "" if seed is None else f"seed {seed}",
        f"commit {brief(link['commit'])}" if link.get("commit") else "",
    ]
    yield ", ".join(filter(None, run))
    machine = link.get("machine") or {}
    told = [machine.get("gpu"), machine.get("cpu"), f"{machine.get('cores')} cores", f"{machine.get('memory_gib')} GiB"]
    yield ", ".join(str(one) for one in told if one) if machine else ""
    weights, data = link.get("weights"), link.get("data") or {}
    pins = {
        "data": data.get("sha256") or link.get("sha256"),
        "recipe": link.get("recipe_sha256"),
        "parent": link.get("parent_sha256"),
    }
    pins |= {
        "tokenizer": link.get("tokenizer_fingerprint"),
        "weights": provenance.one_hash(weights) if weights else None,
    }
    yield ", ".join(f"{name} {short(str(value))}" for name, value in pins.items() if value)
    verified = sum(check["verdict"] == "verified" for check in link["checks"])
    yield f"{verified} hashes agree" if verified else ""


def wrapped(before: str, text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=before, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )


def main(argv: list[str]) -> int:
    """Print the chain; 1 where a link is broken, else 0."""
    parser = checkpoint.Arguments("arith-hf lineage", "Say where a checkpoint comes from, and compare every hash.")
    parser.add_argument("folder", help="a checkpoint, a tokenizer or a corpus")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    given = parser.parse_args(argv)
    told = report(Path(given.folder))
    print(json.dumps(told, ensure_ascii=False) if given.format == "json" else as_text(told))
    return int(told["broken"] > 0)
