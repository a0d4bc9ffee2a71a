"""The doctor: what is wrong with a run of GRPO, in plain words, with the figures it judged by and what to try.

May not train or generate anything: it reads what the run left, finished or not, and says what it could not look at.
The exit status is 1 where a fault is found, 0 where none is; where nothing could be judged it says so, and it is 0.

    arith-hf doctor checkpoints/<model>/grpo [--format json]
"""

import argparse
import json
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from arith_hf.doctor import curves, rollouts
from arith_hf.doctor.history import History
from arith_hf.doctor.reading import read
from arith_hf.doctor.verdict import MIN_UPDATES, Finding, Unseen, Verdict

FAULTS: dict[str, Callable[[History], Verdict]] = {  # causes before what they cause
    "not-finite": curves.not_finite,
    "no-end-token": rollouts.no_end_token,
    "truncation": rollouts.truncation,
    "blind-reward": rollouts.blind_reward,
    "lying-reward": curves.lying_reward,
    "too-easy": rollouts.too_easy,
    "too-hard": rollouts.too_hard,
    "uneven": rollouts.uneven,
    "kl-runaway": curves.kl_runaway,
    "entropy-collapse": curves.entropy_collapse,
    "learning-rate-too-high": curves.learning_rate_too_high,
    "learning-rate-too-small": curves.learning_rate_too_small,
    "unfaithful": rollouts.unfaithful,
}
WIDTH = 120


def examine(history: History) -> dict[str, Verdict]:
    """The verdict on each fault; on `flat` only where no other is found."""
    verdicts = {name: judge(history) for name, judge in FAULTS.items()}
    if not any(isinstance(one, Finding) for one in verdicts.values()):
        verdicts["flat"] = curves.flat(history)
    return verdicts


def diagnose(folder: Path) -> dict[str, Any]:
    """The report: figures of the run, the findings, what could not be looked for, and what is not there."""
    history = read(folder)
    verdicts = examine(history)
    figures = {history.pay: history.reward, **{one.what: one.ends for one in history.accuracies}}
    return {
        "folder": str(folder),
        "finished": history.finished,
        "updates": history.updates,
        "rollouts": len(history.rollouts),
        "weights_moved": history.moved,
        "figures": {name: [ends.first, ends.last] for name, ends in figures.items() if ends},
        "findings": [{"name": name, **asdict(one)} for name, one in verdicts.items() if isinstance(one, Finding)],
        "unseen": {name: one.reason for name, one in verdicts.items() if isinstance(one, Unseen)},
        "absent": [name for name, one in verdicts.items() if one is None],
    }


def as_text(report: dict[str, Any]) -> str:
    """One paragraph a finding; then what could not be looked for, a line a reason."""
    lines = [heading(report), ""]
    for one in report["findings"]:
        lines += [f"{one['name']}", wrapped("  ", one["evidence"]), wrapped("  try: ", one["remedy"]), ""]
    if not report["findings"]:
        lines += [wrapped(nothing_found(report), ", ".join(report["absent"])), ""]
    reasons: dict[str, list[str]] = {}
    for name, reason in report["unseen"].items():
        reasons.setdefault(reason, []).append(name)
    lines += [wrapped("not judged: ", f"{', '.join(names)} ({reason})") for reason, names in reasons.items()]
    return "\n".join(lines).rstrip()


def nothing_found(report: dict[str, Any]) -> str:
    """What stands before the faults that are not there: healthy is a run of which all was judged."""
    judged, unseen = len(report["absent"]), len(report["unseen"])
    if report["updates"] < MIN_UPDATES:
        return "too early to tell: so far no "
    return f"no fault found; {judged} of {judged + unseen} could be judged: no " if unseen else "healthy: no "


def heading(report: dict[str, Any]) -> str:
    told = [f"{name} {first:.2f} -> {last:.2f}" for name, (first, last) in report["figures"].items()]
    moved = report["weights_moved"]
    parts = [
        f"{report['updates']} updates{'' if report['finished'] else ' so far'}",
        f"{report['rollouts']} rollouts of training recorded",
        *told,
        *([] if moved is None else [f"weights moved by {moved:.1e} of their size"]),
    ]
    return wrapped("", f"{report['folder']}: {', '.join(parts)}")


def wrapped(before: str, text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=before, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(argv: list[str]) -> int:
    """Print the report; 1 where a fault is found, else 0."""
    parser = Arguments("arith-hf doctor", description="Say what is wrong with a run of GRPO.", allow_abbrev=False)
    parser.add_argument("folder", help="what the run wrote: checkpoints/<model>/grpo")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    given = parser.parse_args(argv)
    report = diagnose(Path(given.folder))
    print(json.dumps(report) if given.format == "json" else as_text(report))
    return int(bool(report["findings"]))
