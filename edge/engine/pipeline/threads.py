"""The number of torch's threads, which belongs to the thread that asks for it."""

from __future__ import annotations

import threading

import torch


class Threads:
    """How many threads torch should have, and the thread that was last told so."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._applied = (0, 0)

    def apply(self) -> None:
        """Give the calling thread's OpenMP team the wanted number, where it has not got it.

        OpenMP keeps that number by thread: a call from another one would change nothing here.
        """
        due = (threading.get_ident(), self.wanted)
        if due != self._applied:
            torch.set_num_threads(self.wanted)
            self._applied = due
