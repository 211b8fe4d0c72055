"""What a benchmark ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe() -> None:
    """Prints processor, cores, load by others and the versions that count."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "albumentations", "numpy"))
    print(
        f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}, {packages}"
    )
