"""ClickHouse for those who make tables: the same line, without the wish to be kept from writing."""

from __future__ import annotations

import time

from alerting.model import SourceError
from alerting.sources.clickhouse import ClickHouse

PATIENCE = 1800.0  # seconds a day of rows may take
ONLY_READERS = {"readonly", "cancel_http_readonly_queries_on_client_close"}


class Writer(ClickHouse):
    """A ClickHouse that may write. Nothing is tried twice: half of a first try may be there."""

    def do(self, sql: str, name: str) -> None:
        """Run a statement to its end. Raises SourceError."""
        try:
            answer = self._post(sql, name, time.monotonic() + self.timeout)
            if answer.status != 200:
                self._read(answer, name)
        except SourceError as error:
            text = self._without_password(str(error))
            raise SourceError(f"ClickHouse at {self.url} ({name}): {text}", error.passing) from None

    def _settings(self, deadline: float) -> dict[str, str]:
        return {name: value for name, value in super()._settings(deadline).items() if name not in ONLY_READERS}
