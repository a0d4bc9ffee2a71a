"""The record of a finished training, training.json: what was run, from when to when, how it went and where it ended.

May not know which trainer it was. recipe.yaml, provenance.json and trainer_state.json have all of it, each its part.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from transformers import TrainerState, TrainingArguments

NAME = "training.json"
CLOCK = ("_runtime", "_per_second")  # ends of keys
TOTALS = ("train_", "total_flos")  # beginnings of keys; metrics.json has them
Row = dict[str, Any]


def write_up(recipe: Row, made: Row, training: TrainingArguments, state: TrainerState) -> Row:
    """The record as it stands now; `made` is the provenance, `recipe` what was said rather than left to a default."""
    started = (made.get("resumed") or [made])[0]["started"]  # of the first part, where it was gone on with
    moment = datetime.fromisoformat(started).strftime("%Y%m%dT%H%M%SZ")
    history = by_evaluation(state.log_history)
    return {
        "run_id": f"{made['stage']}-{moment}-{made['recipe_sha256'][:8]}",
        "stage": made["stage"],
        "started": started,
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "steps": state.global_step,
        "configuration": recipe,
        "best": best(history, training.metric_for_best_model, training.greater_is_better),
        "final": history[-1] if history else None,
        "history": history,
    }


def by_evaluation(log: Sequence[Row]) -> list[Row]:
    """A row for each evaluation: all that was logged at its step, and the mean loss since the one before.

    A row for each line of the log where nothing was evaluated.

    >>> by_evaluation([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}])
    [{'step': 2, 'loss': 2.0, 'eval_loss': 1.5}]
    """
    steps = sorted({row["step"] for row in log if any(key.startswith("eval_") for key in row)})
    steps = steps or sorted({row["step"] for row in log if "loss" in row})
    found, before = [], -1
    for step in steps:
        told = {
            key: value
            for row in log
            if row["step"] == step
            for key, value in row.items()
            if not key.endswith(CLOCK) and not key.startswith(TOTALS)
        }
        if (loss := mean_loss(log, before, step)) is not None:
            told["loss"] = loss
        found.append(told)
        before = step
    return found


def best(history: Sequence[Row], metric: str | None, greater: bool | None) -> Row | None:
    """The evaluation that `metric_for_best_model`, or else the loss, is best at; None where there is none.

    >>> best([{"step": 1, "eval_loss": 2.0}, {"step": 2, "eval_loss": 1.0}], None, None)
    {'metric': 'eval_loss', 'value': 1.0, 'step': 2}
    """
    name = metric or "eval_loss"
    name = name if name.startswith("eval_") else f"eval_{name}"
    sign = 1 if (greater if greater is not None else not name.endswith("loss")) else -1
    rows = [row for row in history if row.get(name) is not None and row[name] == row[name]]  # NaN equals nothing
    if not rows:
        return None
    found = max(rows, key=lambda row: sign * row[name])
    return {"metric": name, "value": found[name], "step": found["step"]}


def mean_loss(log: Sequence[Row], after: int = -1, upto: float = float("inf")) -> float | None:
    """The mean of the losses logged behind step `after`, each weighed by the steps since the one before; else None.

    >>> mean_loss([{"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 9.0}, {"step": 3, "loss": 4.0}])
    2.0
    """
    losses = [(row["step"], row["loss"]) for row in log if "loss" in row]
    steps = [step - before for (step, _), (before, _) in zip(losses, [(0, 0.0), *losses], strict=False)]
    taken = [(n, loss) for n, (step, loss) in zip(steps, losses, strict=True) if after < step <= upto]
    return sum(n * loss for n, loss in taken) / sum(n for n, _ in taken) if taken else None
