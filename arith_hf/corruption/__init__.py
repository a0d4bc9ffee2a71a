"""Workings with one fault planted: what a model might have written, the step at which it goes wrong, and the kind.

May not know what they are for, nor a framework. Behind its fault a working goes on from what was written, or stays as
it was: `goes_on` is the chance of the first.
"""

from types import ModuleType

from arith_hf.corruption import addition, expression

ROOMS = {"expression": expression, "addition": addition}


def room(task: str) -> ModuleType:
    """Where the faults of a task are planted: `STEPS` are the kinds that spoil one step, `spoil` plants one."""
    return ROOMS[task]
