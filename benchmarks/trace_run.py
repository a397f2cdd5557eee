"""Trace one run of the alert notebook: the functions of a package that it calls, and the depth of calls.

    python trace_run.py HOUSE NOTEBOOK PACKAGE AT OUT

The notebook's code cells run in this process, without a kernel, with `at` set after the cell tagged "parameters". The last value
of a cell is formatted as a kernel would format it. Settings come from the environment. The result is written to OUT as JSON.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Function = tuple[str, str]  # module (a path below the package), qualified name


@dataclass
class Stack:
    """The stack of the package's calls in one thread: functions, and the number of its modules that are being imported."""

    functions: list[Function] = field(default_factory=list)
    imports: int = 0


class Trace:
    """A profile function for `sys.setprofile` that collects calls of the package's functions.

    A function is a `def` in a Python file. Left out are lambdas, comprehensions, generator expressions, module and class bodies,
    calls during the import of a module, templates, and generated methods (of dataclasses).
    """

    def __init__(self, package: Path, text: str) -> None:
        self.package, self.text = f"{package}/", f"{text}/"
        self.called: set[Function] = set()
        self.chain: list[Function] = []
        self.texts: set[Function] = set()  # functions of `messages` that `compose` calls, directly or not
        self._stacks = threading.local()
        self._known: dict[CodeType, Function | None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        name = self._known[code] if code in self._known else self._known.setdefault(code, self._name(code))
        if name is None:
            return
        stack = self._stacks.__dict__.setdefault("stack", Stack())
        if name[1] == "<module>":
            stack.imports += 1 if event == "call" else -1
        elif not stack.imports:
            if event == "call":
                self._enter(stack.functions, name)
            else:
                stack.functions.pop()

    def _name(self, code: CodeType) -> Function | None:
        if not code.co_filename.startswith(self.package) or not code.co_filename.endswith(".py"):
            return None
        module = code.co_filename.removeprefix(self.package)
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        return (module, code.co_qualname) if is_function or code.co_name == "<module>" else None

    def _enter(self, functions: list[Function], name: Function) -> None:
        functions.append(name)
        self.called.add(name)
        if len(functions) > len(self.chain):
            self.chain = functions.copy()
        outer = next((i for i, (module, _) in enumerate(functions) if module.startswith(self.text)), None)
        if outer is not None and outer and functions[outer - 1][1] == "compose":
            self.texts.add(name)


def run(cells: list[dict[str, Any]], at: str, trace: Callable[..., None]) -> None:
    """Run the sources of the cells one after the other, with the profile on."""
    from IPython.core.formatters import DisplayFormatter

    formatter, namespace = DisplayFormatter(), dict[str, Any](__name__="__main__")
    threading.setprofile(trace)
    for cell in cells:
        tree = ast.parse("".join(cell["source"]))
        end = tree.body[-1]
        shown = compile(ast.Expression(end.value), "cell", "eval") if isinstance(end, ast.Expr) else None
        code = compile(ast.Module(tree.body[:-1] if shown else tree.body, []), "cell", "exec")
        sys.setprofile(trace)
        try:
            exec(code, namespace)
            if shown:
                formatter.format(eval(shown, namespace))
        finally:
            sys.setprofile(None)
        if "parameters" in cell["metadata"].get("tags", []):
            namespace["at"] = at
    threading.setprofile(None)


def main(house: str, notebook: str, package: str, at: str, out: str) -> None:
    sys.path.insert(0, house)
    cells = [c for c in json.loads(Path(house, notebook).read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    trace = Trace(Path(house, package), "messages")
    run(cells, at, trace)
    found = {"called": sorted(trace.called), "chain": trace.chain, "texts": sorted(trace.texts)}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
