"""Engine threads while the model runs: another quota, and the engine goes on with their number.

`docker update --cpus`, an orchestrator's resize in place and a changed cpuset all show within
seconds in what `edge.cpu` reads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge import cores, cpu, memory
from edge.errors import EngineFailed

_log = logging.getLogger(__name__)
INTERVAL_S = 2.0


class Crew:
    """Keeps an engine's threads to what the quota is good for."""

    def __init__(
        self,
        threads: int,
        rethread: Callable[[int], None],
        *,
        wanted: Callable[[], int],
        is_affordable: Callable[[], bool],
    ) -> None:
        """The engine has `threads`; `rethread` gives it another number, or raises `EngineFailed`.

        `wanted` tells how many it should have now, `is_affordable` whether memory has room for
        what a change takes.
        """
        self._threads = threads
        self._rethread = rethread
        self._wanted = wanted
        self._is_affordable = is_affordable
        self._seen = threads
        self._refused = 0
        self._has_changed = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crew", daemon=True)

    @property
    def threads(self) -> int:
        """Threads that the engine has."""
        return self._threads

    def start(self) -> None:
        """Look every few seconds, in a thread of its own."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread; waits at most `timeout_s` seconds for a change that is under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def look(self) -> None:
        """Follow what is wanted, once it was seen twice: quota and period are set one by one."""
        if self._has_changed:
            # By now the last run on the old weights has ended.
            memory.give_back()
            self._has_changed = False
        wanted, seen = self._wanted(), self._seen
        self._seen = wanted
        if wanted != self._refused:
            self._refused = 0
        if wanted == seen and wanted not in (self._threads, self._refused):
            self._refused = 0 if self._follow(wanted) else wanted

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self.look()

    def _follow(self, wanted: int) -> bool:
        facts = {"threads": self._threads, "wanted": wanted}
        if not self._is_affordable():
            _log.warning("no memory to follow the CPU quota: restart to do so", extra=facts)
            return False
        try:
            with cores.on(cpu.engine_cpus()):
                self._rethread(wanted)
        except EngineFailed:
            _log.warning("the engine cannot follow the CPU quota", extra=facts)
            return False
        self._threads, self._has_changed = wanted, True
        _log.info("the engine follows the CPU quota", extra=facts)
        return True
