"""How the tests are divided among processes: by module, as xdist does it, but some tests are not bound to the others."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from tests import kinds


class Scopes(LoadScopeScheduling):
    """A scope is what one process runs in one go. The scopes begin in the order in which `kinds` has sorted the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if kinds.is_alone(nodeid) else super()._split_scope(nodeid)
