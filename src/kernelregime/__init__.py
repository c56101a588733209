"""Is this network in the kernel (NTK) regime, and what follows?

Names are resolved on first use, so that importing the package (and `kernelregime --help`) does not import JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

PACKAGES = (
    "activations",
    "claims",
    "data",
    "diagnosis",
    "empirical",
    "experiments",
    "grams",
    "infinite",
    "layers",
    "networks",
    "observables",
    "prediction",
    "report",
    "results",
    "theory",
    "training",
)
NAMES = {"diagnose": "kernelregime.diagnosis", "InputError": "kernelregime._checks", "mlp": "kernelregime.networks"}

__all__ = ["InputError", "__version__", "diagnose", "mlp", *PACKAGES]

if TYPE_CHECKING:
    from kernelregime._checks import InputError
    from kernelregime.diagnosis import diagnose
    from kernelregime.networks import mlp


def __getattr__(name: str) -> Any:
    if name in PACKAGES:
        return import_module(f"kernelregime.{name}")
    if name in NAMES:
        return getattr(import_module(NAMES[name]), name)
    raise AttributeError(f"module 'kernelregime' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
