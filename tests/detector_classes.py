"""The detectors that the laws are tested on. They are found in the modules of `alerting.detectors`, so a new one is included."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator

from alerting import detectors
from alerting.detectors.bands import BaseDetector, Fence
from alerting.detectors.limits import Above, Below, Outside


def detector_classes() -> list[type[BaseDetector]]:
    """Return the detectors of all modules of the package that can be made without arguments, in the order of their names."""
    for module in pkgutil.iter_modules(detectors.__path__):
        importlib.import_module(f"{detectors.__name__}.{module.name}")
    return sorted({cls for cls in subclasses(BaseDetector) if _is_detector(cls)}, key=lambda cls: cls.__name__)


def subclasses(cls: type[BaseDetector]) -> Iterator[type[BaseDetector]]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def _is_detector(cls: type[BaseDetector]) -> bool:
    """Return whether the package defines the class, and it is neither a base nor an adapter, which needs an argument."""
    if not cls.__module__.startswith(f"{detectors.__name__}.") or inspect.isabstract(cls):
        return False
    needed = [p for p in inspect.signature(cls).parameters.values() if p.default is inspect.Parameter.empty]
    return not needed and vars(sys.modules[cls.__module__]).get(cls.__name__) is cls


WIDTH_RULES = [cls for cls in detector_classes() if issubclass(cls, Fence)]  # they take any baseline as `over`
DETECTORS = [cls() for cls in detector_classes() if not issubclass(cls, Fence)]  # with their default parameters
FIXED_LIMITS = [
    Above(120),
    Below(80),
    Outside(low=60, high=140),
]  # under the laws that ask for no learning
