"""Imports that take seconds, in less."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports(*spared: str) -> Iterator[None]:
    """Within, no garbage is collected, for an import makes many objects and none of it, nor are these objects looked at
    later; and the modules `spared`, which what is imported can do without, seem not to be installed.
    """
    absent, known = set(spared) - sys.modules.keys(), len(sys.modules)
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        for module in absent:
            del sys.modules[module]
        if len(sys.modules) > known:
            gc.freeze()
        if collecting:
            gc.enable()
