"""The record of where a result was computed."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

PACKAGES = ("kernelregime", "jax", "jaxlib", "numpy", "scipy", "optax")


def environment() -> dict[str, Any]:
    """Versions, platform, cores and time (UTC) of this process, as JSON types. No host or user names."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": versions,
    }
