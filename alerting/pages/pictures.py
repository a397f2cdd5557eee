"""Pictures of a notebook that lie beside it as files: shown from there, instead of being in it a second time."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from alerting.pages.cleaning import PNG, png
from alerting.pages.markup import text

_SOURCE = re.compile(rf'src="{re.escape(PNG)}([A-Za-z0-9+/=\s]*)"')

Same = Callable[[str, bytes], bool]  # whether a file of that name holds just this picture


def moved(notebook: dict[str, Any], name: str, same: Same) -> dict[str, Any]:
    """The notebook `name` with every picture replaced by a link to its file, where there is one."""
    notebook, files = deepcopy(notebook), _Files(name, same)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                file = files.of("".join(data["image/png"]))
                if file:
                    del data["image/png"]
                    data["text/html"] = f'<img src="{text(file)}">'
            elif "text/html" in data:
                data["text/html"] = _SOURCE.sub(files.linked, "".join(data["text/html"]))
    return notebook


class _Files:
    """Numbers them in the order of the notebook, as its page did."""

    def __init__(self, name: str, same: Same) -> None:
        self.name, self.same, self.count = name, same, 0

    def of(self, encoded: str) -> str:
        data = png(encoded)
        self.count += bool(data)
        file = f"{self.name}.{self.count}.png"
        return file if data and self.same(file, data) else ""

    def linked(self, match: re.Match[str]) -> str:
        file = self.of(match[1])
        return f'src="{text(file)}"' if file else match[0]
