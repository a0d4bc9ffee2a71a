"""The tasks by name: each is a module that poses a problem, works it and judges a working.

May not know how a working is written, nor any framework.
"""

from types import ModuleType

from arith_hf.tasks import addition, expression

TASKS: dict[str, ModuleType] = {"expression": expression, "addition": addition}


def get(name: str) -> ModuleType:
    """The module of a task, or of a written form of it (`addition/columns`); ValueError names the known tasks."""
    task = name.partition("/")[0]
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: need one of {', '.join(TASKS)}")
    return TASKS[task]
