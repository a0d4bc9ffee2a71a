"""Where a folder comes from: what made it, from what, by which code, on which machine; hashes for later readers.

May not know what any stage does, and loads no framework. A folder's own part stands in provenance.json; `ancestors` in
it are those of all that it was made from, so that a checkpoint which travels alone still tells its whole chain.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from arith_hf import files

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")
NAME = "provenance.json"
SIGNED = (  # what a model answers by, and was trained by, besides its weights; recipe.yaml's hash is in provenance.json
    *("config.json", "generation_config.json", "adapter_config.json", "*.safetensors.index.json"),
    *("tokenizer*.json", "special_tokens_map.json", "vocab.json", "merges.txt", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates", "custom_generate", "*.py", NAME),
    "training.json",
)
RESULTS = ("parameters", "steps", "seconds", "cpu_seconds", "tokens", "flops", "resumed_from", "weights")
PARTS = ("started", "commit", "code_sha256", "versions", "machine", "device", "threads")  # what may change in a run
BEGIN, END = "<!-- lineage: begin -->", "<!-- lineage: end -->"
PACKAGE = Path(__file__).parent
Row = dict[str, Any]


# What made it


def start(stage: str, command: str | None, gpu: str | None = None) -> Row:
    """What is known of any work before it begins; `started` is in UTC."""
    return {
        "stage": stage,
        "command": command,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "code_sha256": code_hash(),
        "versions": {name: found for name in LIBRARIES if (found := installed(name))},
        "python": platform.python_version(),
        "machine": machine(gpu),
    }


def commit() -> str | None:
    """The git commit of the code, marked `-dirty` where a tracked file was edited since; None where there is none.

    A package that was installed into another project's tree is not of that project's commit.
    """
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    known = ["git", "ls-files", "--error-unmatch", Path(__file__).name]
    try:
        for command in (known, describe):
            done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False)
            if done.returncode:
                return None
    except OSError:
        return None
    return done.stdout.strip() or None


def code_hash() -> str:
    """One hash of this package's sources, edited, untracked or installed; of no other code."""
    paths = sorted(PACKAGE.rglob("*.py"), key=lambda path: path.relative_to(PACKAGE).as_posix())
    return digest([[path.relative_to(PACKAGE).as_posix(), files.sha256(path)] for path in paths])


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine(gpu: str | None = None) -> Row:
    """Processor, usable cores, memory in GiB and the GPU, if one is used; nothing that names its owner."""
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):  # not known on every system
        memory = None
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu(),
        "cores": len(usable(0)) if usable else os.cpu_count(),
        "memory_gib": memory,
        "gpu": gpu,
    }


def cpu() -> str:
    """The processor's name: Linux has it in /proc/cpuinfo alone."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor()


def continued(before: Row, made: Row, step: str) -> Row:
    """The record of a run that goes on from a step, with what made the part before it."""
    part = {key: before[key] for key in PARTS if key in before}
    return made | {"resumed": [*(before.get("resumed") or []), part | {"step": Path(step).name}]}


# Hashes


def digest(content: Any) -> str:
    """Hash of what JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def data_proof(dataset_name: str) -> dict[str, str]:
    """Path of the data and the hash that pins its content: of the manifest for a corpus, of the file for one file."""
    path = Path(dataset_name)
    pinned = path / "manifest.json" if path.is_dir() else path
    return {"path": dataset_name, "sha256": files.sha256(pinned)}


def unsigned_hash(manifest: Row) -> str:
    """Hash of a corpus's manifest as it was before a tokenizer signed it."""
    return text_hash(files.to_json(manifest | {"tokenizer_fingerprint": None}))


def weights(checkpoint: Path) -> dict[str, str]:
    """The hash of each weight file, which `checkpoint.load` compares: a flipped byte would answer as if whole."""
    return {path.name: files.sha256(path) for path in sorted(checkpoint.glob("*.safetensors"))}


def weights_hash(checkpoint: Path) -> str:
    """One hash of all weight files of a checkpoint."""
    return one_hash(weights(checkpoint))


def one_hash(weights: dict[str, str]) -> str:
    """`weights_hash` from the hash of each file."""
    return hashlib.sha256("".join(weights[name] for name in sorted(weights)).encode()).hexdigest()


def signature(folder: Path) -> dict[str, dict[str, str]]:
    """For metrics.json: the hash of each weight file, and of each other file that decides what the model writes."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and is_signed(path.name))
    return {"weights": weights(folder), "files": {name: files.sha256(folder / name) for name in names}}


def is_signed(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in SIGNED)


# What it was made from


def record(path: Path) -> Row:
    """All that a folder says of itself but what it comes from, with its results; of one file its hash."""
    if path.is_file():
        return {"stage": "file", "path": str(path), "sha256": files.sha256(path)}
    done = read(path / "metrics.json")
    said = {key: value for key, value in read(path / NAME).items() if key != "ancestors"}
    results = {key: done[key] for key in RESULTS if done.get(key) is not None}
    return {"stage": path.name, "path": str(path), **said, **results}


def ancestors(*sources: str | Path | None) -> list[Row]:
    """The records of all that `sources` come from, and of these themselves, the oldest first."""
    found: list[Row] = []
    for source in (Path(one) for one in sources if one):
        before = read(source / NAME).get("ancestors") if source.is_dir() else None
        found += [one for one in (*(before or []), record(source)) if one not in found]
    return found


def read(path: Path) -> Row:
    """A JSON object, {} where there is no such file; ValueError names what is broken."""
    content = files.read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: need a JSON object, got {type(content).__name__}")
    return content


# The card


def section(records: Sequence[Row]) -> str:
    """The part of a model card that tells the chain, the oldest first; between marks, as a later card replaces it."""
    text = "`arith-hf lineage DIR` compares these hashes with the files; provenance.json has them in full."
    return f"{BEGIN}\n## Lineage\n\n{table(records)}\n\n{text}\n{END}"


def without_section(card: str) -> str:
    return re.sub(rf"\n*{BEGIN}.*?{END}\n?", "\n", card, flags=re.DOTALL)


def table(records: Iterable[Row]) -> str:
    """A line a stage in Markdown, hashes cut to 12 digits."""
    rows = [
        "| stage | started (UTC) | seconds | seed | commit | recipe | data | weights |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in records:
        data = (one.get("data") or {}).get("sha256") or one.get("manifest_sha256") or one.get("sha256")
        made = one_hash(one["weights"]) if one.get("weights") else None
        hashes = [f"`{cut}`" if (cut := short(value)) else "" for value in (one.get("recipe_sha256"), data, made)]
        told = [one.get(key) for key in ("stage", "started", "seconds", "seed")]
        cells = ["" if value is None else str(value).replace("|", "\\|") for value in told]
        rows.append(f"| {' | '.join([*cells, brief(one.get('commit')), *hashes])} |")
    return "\n".join(rows)


def short(value: str | None) -> str:
    return (value or "")[:12]


def brief(commit: str | None) -> str:
    """
    >>> brief("8785ff29963264b807f77b2d0a6560837250097e-dirty")
    '8785ff2, edited'
    """
    return (commit or "")[:7] + (", edited" if (commit or "").endswith("-dirty") else "")
