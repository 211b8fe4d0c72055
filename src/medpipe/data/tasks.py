"""From a task's name to its module. The imports are local, so that a stage imports its own task alone."""

from types import ModuleType

from medpipe.errors import InputError


def task_module(task: str) -> ModuleType:
    """`medpipe.data.<task>`, which reads the task's archives. Raises InputError for another name."""
    match task:
        case "skin":
            from medpipe.data import skin

            return skin
        case "brain":
            from medpipe.data import brain

            return brain
        case "chest":
            from medpipe.data import chest

            return chest
    raise InputError(f"task {task!r}: must be skin, brain or chest")
