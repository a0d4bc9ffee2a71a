"""A verdict on one fault: a `Finding`; an `Unseen` where it could not be looked for; None where it is not there.

May not know the faults.
"""

from dataclasses import dataclass

from arith_hf.doctor.history import MIN_POINTS, History

MIN_UPDATES = 10  # below it a third is three updates or fewer, whose mean is noise


@dataclass(frozen=True)
class Finding:
    """The figures that a fault was judged by, in a sentence, and what to try."""

    evidence: str
    remedy: str


@dataclass(frozen=True)
class Unseen:
    """What could not be seen, and which key would change that."""

    reason: str


Verdict = Finding | Unseen | None


def unrecorded(what: str) -> Unseen:
    return Unseen(f"{what}: there are no rollouts (record_rollouts: true records them)")


def unmeasured(history: History) -> Unseen | None:
    """Whether nothing says how right the model was."""
    if history.accuracies:
        return None
    held_out = "eval_strategy: steps logs eval_exact_match"
    if history.recipe.get("sample_by"):
        return Unseen(f"how right the model was: sample_by drew what it trained on by how hard it is; {held_out}")
    return Unseen(f"how right the model was: {held_out}, record_rollouts: true records it")


def too_short(history: History) -> Unseen | None:
    """Whether there is too little of a run to speak of a trend."""
    if history.updates < MIN_UPDATES:
        return Unseen(f"{history.updates} updates are too few to judge a trend: need {MIN_UPDATES} (max_steps)")
    if history.reward is None:
        points = len(history.paid)
        return Unseen(f"{points} log lines are too few to judge a trend: need {MIN_POINTS} (logging_steps: 1)")
    return None
