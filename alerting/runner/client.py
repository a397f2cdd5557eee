"""The connection of nbclient to a kernel that runs already. Imported late: jupyter_client takes 0.1 s."""

from __future__ import annotations

import asyncio
import time
from queue import Empty
from typing import TYPE_CHECKING

from jupyter_client.asynchronous.client import AsyncKernelClient

if TYPE_CHECKING:
    from alerting.runner.execute import Kernel


class NoAnswerError(Exception):
    """The kernel never answered. The text says how that shows."""


class Manager:
    """As much of a kernel manager as nbclient needs when the kernel is not its own."""

    has_kernel = True
    kernel_id = None
    is_alive = cleanup_resources = staticmethod(lambda: False)  # called when it did not start: `execute` ends it

    def __init__(self, kernel: Kernel, boot: float) -> None:
        self.kernel, self.boot = kernel, boot
        self.clients: list[_Client] = []

    def client(self) -> _Client:
        client = _Client(connection_file=str(self.kernel.file))
        client.load_connection_file()
        client.manager = self
        self.clients.append(client)
        return client

    def close(self) -> None:
        """nbclient leaves the channels open when the kernel is not its own."""
        for client in self.clients:
            client.stop_channels()


class _Client(AsyncKernelClient):
    """Looks at the process instead of a heartbeat, and is ready as soon as it answers: theirs waits 0.2 s more for silence."""

    manager: Manager

    def start_channels(self, *_: bool, **__: bool) -> None:
        super().start_channels(stdin=False, hb=False, control=False)

    async def is_alive(self) -> bool:
        return self.manager.kernel.alive

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        kernel, boot = self.manager.kernel, self.manager.boot
        deadline = time.monotonic() + boot
        while not (kernel.listening and await self._answered()):
            if not kernel.alive:
                raise NoAnswerError(f"the kernel did not start: {kernel.death}")
            if time.monotonic() > deadline:
                raise NoAnswerError(f"the kernel did not answer within {boot:g} s")
            await asyncio.sleep(0.002)

    async def _answered(self) -> bool:
        """A reply came, and what the kernel publishes reaches us: outputs would be lost otherwise."""
        self.kernel_info()
        try:
            await self.shell_channel.get_msg(timeout=1)
            await self.iopub_channel.get_msg(timeout=0.2)
        except Empty:
            return False
        return True
