"""The commands of the command line, one module per noun: on_call, drill, doctor, backtest, new_metric.

Each module, such as `cli.on_call`, is imported at its first use: most of them load pandas, and `run-alerts` needs none.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alerting.cli import backtest, doctor, drill, new_metric, on_call

__all__ = ["backtest", "doctor", "drill", "new_metric", "on_call"]


def __getattr__(name: str) -> ModuleType:
    """Import the module `name` of this package. Raises AttributeError if there is none (PEP 562)."""
    if name in __all__:
        return import_module(f"alerting.cli.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
