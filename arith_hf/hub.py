"""The Hub: a checkpoint published with a card that carries its measured numbers, and fetched again.

May not know how a model is trained or measured: it reads what the stages wrote. HF_ENDPOINT, HF_TOKEN and the other
settings of huggingface_hub hold.

    arith-hf push --checkpoint checkpoints/M/grpo --repo_id user/name [--private]
    arith-hf pull user/name --output_dir checkpoints/M/grpo [--revision main]
"""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCard, constants
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import validate_repo_id
from transformers.utils.logging import disable_progress_bar

from arith_hf import checkpoint, copies, files, notation, provenance
from arith_hf.checkpoint import Arguments
from arith_hf.language.summary import summarize

PUBLISHED = (  # all that a reader of the model needs; no optimizer, no step checkpoints, no logs, no pickles
    *("*.safetensors", *provenance.SIGNED, "recipe.yaml", "metrics.json", "evaluate.json", "evaluate.txt"),
    *("README.md", "LICENSE"),
)
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"  # what a second push replaces
Row = dict[str, Any]


# Publishing


def push(path: str | Path, repo_id: str, private: bool = False) -> str:
    """Publish the checkpoint at `path` in one commit; returns its address. The folder itself is not changed."""
    path = Path(path)
    check_name(repo_id)
    checkpoint.load(path)  # what does not load here would not load there
    if checkpoint.is_adapter(path):
        print(f"{path} is an adapter: who pulls it also needs {checkpoint.base_of(path)}", file=sys.stderr)
    chosen = [one for one in sorted(path.iterdir()) if one.is_file() and publishable(one.name)]
    operations = [CommitOperationAdd(one.name, str(one)) for one in chosen if one.name != "README.md"]
    operations.append(CommitOperationAdd("README.md", str(card(path, repo_id)).encode()))
    api = HfApi()
    with explained(repo_id):
        address = api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id} exists and is public: make it private on the Hub, or leave --private out")
        api.create_commit(repo_id, operations, commit_message=f"Publish {path.name}")
    return str(address)


def publishable(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PUBLISHED)


def card(path: Path, repo_id: str) -> ModelCard:
    """The model card: measured numbers, use, recipe and command, above the text that the trainer wrote."""
    readme = path / "README.md"
    model_card = ModelCard(readme.read_text(encoding="utf-8") if readme.is_file() else "---\n{}\n---\n")
    found = {name: read_optional(path / f"{name}.json") for name in ("evaluate", "metrics", "provenance")}
    data: Any = model_card.data
    data.library_name = "peft" if checkpoint.is_adapter(path) else "transformers"
    data.pipeline_tag = "text-generation"
    data.tags = sorted({*(data.tags or []), "arithmetic", "chain-of-thought"})
    if not isinstance(data.base_model, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", data.base_model):
        data.base_model = None  # a folder on this machine is no model of the Hub
    data.model_name, data.eval_results = repo_id.split("/")[1], list(results(found["evaluate"])) or None
    model_card.text = provenance.without_section(model_card.text)  # ours has it
    text = f"{BEGIN}\n{describe(path, repo_id, found)}\n{END}"
    if BEGIN in model_card.text and END in model_card.text:
        before, _, rest = model_card.text.partition(BEGIN)
        model_card.text = before + text + rest.partition(END)[2]
    else:
        trainer = model_card.text.strip()
        folded = f"<details><summary>The trainer's own card</summary>\n\n{trainer}\n\n</details>" if trainer else ""
        model_card.text = f"\n# {repo_id}\n\n{text}\n\n{folded}\n"
    return model_card


def read_optional(path: Path) -> Row:
    return files.read_json(path) if path.is_file() else {}


def results(report: Row) -> Iterator[EvalResult]:
    """The headline of each protocol in the Hub's own form."""
    for name, block in report.get("protocols", {}).items():
        for kind in ("exact_match", "parse_rate"):
            yield EvalResult(
                task_type="text-generation",
                dataset_type=Path(report["data"]["path"]).name,
                dataset_name=f"{Path(report['data']['path']).name}, protocol {name}",
                dataset_config=name,
                metric_type=kind,
                metric_name=f"{kind.replace('_', ' ')} (n {block['n']}, 95 % interval {block[f'{kind}_interval']})",
                metric_value=block[kind],
            )


def describe(path: Path, repo_id: str, found: dict[str, Row]) -> str:
    """The part of the card that is ours."""
    report, made = found["evaluate"], found["provenance"]
    size = report.get("parameters") or found["metrics"].get("parameters")
    recipe = path / "recipe.yaml"
    chain = [*(made.get("ancestors") or []), provenance.record(path)] if made else []
    facts = {
        "stage": made.get("stage"),
        "command": made.get("command"),
        "data": (made.get("data") or {}).get("sha256"),
        "tokenizer fingerprint": made.get("tokenizer_fingerprint"),
        "commit": made.get("commit"),
    }
    sections = [
        f"It {checkpoint.form_of(path).WHAT}{f', with {size:,} parameters' if size else ''}.",
        "## Measured\n\n" + measured(report),
        "## Use\n\n" + usage(repo_id, checkpoint.is_adapter(path), checkpoint.form_of(path)),
        "## Made by\n\n" + "\n".join(f"- {key}: `{value}`" for key, value in facts.items() if value),
        provenance.section(chain) if chain else "",
        f"## Recipe\n\n```yaml\n{recipe.read_text(encoding='utf-8').strip()}\n```" if recipe.is_file() else "",
    ]
    return "\n\n".join(section for section in sections if section)


def measured(report: Row) -> str:
    """A table of the numbers, with what they were measured on and the command that measures them again."""
    if not report:
        return "Not measured. `arith-hf evaluate` measures a checkpoint."
    if report.get("task") == "text":
        return f"```text\n{summarize(report).strip()}\n```\n\nCommand: `{report['command']}`, seed {report['seed']}."
    rows = ["| protocol | n | exact match | 95 % interval | parse rate | mean tokens |", "|---|---|---|---|---|---|"]
    for name, block in report["protocols"].items():
        low, high = block["exact_match_interval"]
        rows.append(
            f"| {name} | {block['n']} | {block['exact_match']:.2%} | {low:.2%} to {high:.2%} "
            f"| {block['parse_rate']:.2%} | {block['mean_tokens']} |"
        )
    what = [f"- {name}: {block['protocol']}" for name, block in report["protocols"].items()]
    return "\n".join([*rows, "", *what, "", f"Command: `{report['command']}`, seed {report['seed']}."])


def usage(repo_id: str, is_adapter: bool, form: notation.Form) -> str:
    if is_adapter:
        return (
            f"A LoRA adapter: `arith-hf pull {repo_id} --output_dir DIR`, then `arith-hf merge --checkpoint DIR ...`."
        )
    return f"""```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo_id}", trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained("{repo_id}", trust_remote_code=True)
prompt = tokenizer({form.ask(form.EXAMPLE)!r}, return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=256)[0], skip_special_tokens=True))
```

Or `arith-hf pull {repo_id} --output_dir DIR` and `arith-hf solve --checkpoint DIR "{form.EXAMPLE}"`."""


# Fetching


def pull(repo_id: str, output_dir: str | Path, revision: str | None = None, overwrite: bool = False) -> Path:
    """Fetch a checkpoint into `output_dir`, whole or not at all; RuntimeError if what comes does not load."""
    check_name(repo_id)
    target = copies.check_output(Path(output_dir), overwrite)
    api = HfApi()

    def fetch(folder: Path) -> None:
        with explained(repo_id):
            found = api.model_info(repo_id, revision=revision)
            for name in (one.rfilename for one in found.siblings or ()):
                if re.fullmatch(r"[\w.-]+", name) and publishable(name):  # no name with a path in it
                    api.hf_hub_download(repo_id, name, revision=found.sha, local_dir=folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # of the download
        if not folder.is_dir():
            raise RuntimeError(f"{repo_id} holds no file of a checkpoint")
        check_fetched(folder, repo_id)

    return copies.publish(target, fetch)


def check_fetched(folder: Path, repo_id: str) -> None:
    """RuntimeError unless what was fetched loads; an adapter need only be whole, its base may be somewhere else."""
    try:
        if checkpoint.is_adapter(folder):
            checkpoint.check_weights(folder, "adapter_model")
        else:
            checkpoint.load(folder)
    except (ValueError, OSError) as error:
        raise RuntimeError(f"fetched but not usable: {str(error).replace(str(folder), repo_id)}") from error


# What can go wrong


def check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise ValueError(f"need a repo such as user/name, got {repo_id}: {checkpoint.one_line(error)}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"need a repo such as user/name, got {repo_id}")


@contextmanager
def explained(repo_id: str) -> Iterator[None]:
    """Errors of the Hub in one line: ValueError for the user's mistakes, ConnectionError or RuntimeError else."""
    where = constants.ENDPOINT
    try:
        yield
    except hub_errors.OfflineModeIsEnabled as error:
        raise ConnectionError("the Hub is switched off by HF_HUB_OFFLINE: set HF_HUB_OFFLINE=0") from error
    except hub_errors.RevisionNotFoundError as error:
        raise ValueError(f"{repo_id} at {where} has no such revision: look at its branches and tags") from error
    except hub_errors.RepositoryNotFoundError as error:
        raise ValueError(f"no repo {repo_id} at {where}, or your token may not see it (see `hf auth login`)") from error
    except hub_errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise ValueError(f"{where} refuses the token: log in with `hf auth login`, or set HF_TOKEN") from error
        if status == 403:
            raise ValueError(f"your token may not write to {repo_id}: use your own name or a write token") from error
        raise RuntimeError(f"{where} answered {status}: {checkpoint.one_line(error)}") from error
    except (hub_errors.HTTPError, hub_errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise ConnectionError(f"cannot reach {where} ({checkpoint.one_line(error)}): check the network") from error


# The verbs


def push_main(argv: list[str]) -> int:
    parser = Arguments("arith-hf push", "Publish a checkpoint on the Hub with a card that carries its numbers.")
    parser.add_argument("--checkpoint", required=True, help="folder of the checkpoint")
    parser.add_argument("--repo_id", required=True, help="user/name")
    parser.add_argument("--private", action="store_true", help="if the repo is made, only you see it")
    given = parser.parse_args(argv)
    disable_progress_bar()  # of the loading, which takes no time
    print(f"pushed {given.checkpoint} to {push(given.checkpoint, given.repo_id, given.private)}")
    return 0


def pull_main(argv: list[str]) -> int:
    parser = Arguments("arith-hf pull", "Fetch a checkpoint from the Hub.")
    parser.add_argument("repo_id", help="user/name")
    parser.add_argument("--output_dir", required=True, help="folder to write")
    parser.add_argument("--revision", help="branch, tag or commit (default: the main branch)")
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is in --output_dir")
    given = parser.parse_args(argv)
    disable_progress_bar()
    print(f"pulled {given.repo_id} to {pull(given.repo_id, given.output_dir, given.revision, given.overwrite)}")
    return 0
