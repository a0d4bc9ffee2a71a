"""How many tokens a model of natural text sees at once: those it was asked for, was trained with, or has positions for.

May not know what it does with them.
"""

from pathlib import Path
from typing import Any

from arith_hf import provenance

UNKNOWN = 1024  # where not even the positions are known


def context_of(config: Any, checkpoint: Path, asked: int | None = None) -> tuple[int, str]:
    """So many, and why so many; ValueError where more are asked for than the model has positions."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if asked:
        if most and asked > most:
            raise ValueError(f"need context_length of at most {most}, the positions of the model, got {asked}")
        return asked, "as asked for"
    if trained := trained_with(checkpoint):
        return min(trained, most or trained), "the max_length of its training"
    return int(most or UNKNOWN), "its positions, as no max_length of its training is recorded"


def trained_with(checkpoint: Path) -> int | None:
    """The max_length of the last training that has one: this checkpoint's own, else of what it was made from."""
    made = provenance.read(checkpoint / provenance.NAME)
    said = provenance.read(checkpoint / "training.json").get("configuration")  # of a version that left it out of `made`
    told = [one for one in (made, said, *reversed(made.get("ancestors") or [])) if isinstance(one, dict)]
    return next((one["max_length"] for one in told if isinstance(one.get("max_length"), int)), None)
