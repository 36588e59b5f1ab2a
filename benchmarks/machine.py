"""The machine and the versions that a benchmark's figures come from; nothing that names a host, a user or a path."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil


def describe_machine(*packages: str) -> dict[str, Any]:
    """Cores, memory, CPU model, operating system, versions of Python and of the packages named."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
    }


def _cpu_model() -> str:
    place = Path("/proc/cpuinfo")
    lines = place.read_text().splitlines() if place.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
