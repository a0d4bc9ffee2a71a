"""The tasks by name: each is a module that poses a problem, works it and judges a working.

May not know how a working is written, nor any framework.
"""

from types import ModuleType

from arith_hf.tasks import expression

TASKS: dict[str, ModuleType] = {"expression": expression}


def get(name: str) -> ModuleType:
    """The module of a task; ValueError names the known ones."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: need one of {', '.join(TASKS)}")
    return TASKS[name]
