"""Starts the sides that a bar asks for, once each, and ends them all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import processes, sides
from tests.bench.bars.plan import Plan
from tests.bench.bars.quota import Group
from tests.bench.bars.side import Loop, Prompt, Server
from tests.bench.peer import server
from tests.bench.sides import Served
from tests.bench.subject import Subject
from tests.bench.workload import SUPPRESSED

PHIAL, LOOP, STOCK_LOOP = "Phial", "OGA's loop", "OGA's loop, stock export"
SEED = 23


@dataclass(frozen=True, slots=True)
class Peer:
    """llama.cpp: its server's program and the model file; `label` tells the versions."""

    program: Path
    model: Path
    label: str


class Stage:
    """Sides by need; use it as a context manager."""

    def __init__(
        self,
        plan: Plan,
        subject: Subject,
        stock: Path | None,
        peer: Peer | None,
        scratch: Path,
        *,
        is_endless: bool = False,
    ) -> None:
        """`stock` is the folder of the stock export, None where there is none to compare with.

        With `is_endless` the tokens that end an answer are suppressed; models with random weights
        need it not.
        """
        self._is_endless = is_endless
        self.plan, self.subject, self.scratch = plan, subject, scratch
        self._stock, self._peer = stock, peer
        self._random = np.random.default_rng(SEED)
        self._stack = ExitStack()
        self._started: list[Served] = []
        self._loops: list[int] = []

    def __enter__(self) -> Stage:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every side."""
        self._stack.close()

    @cached_property
    def phial(self) -> Server:
        """The appliance with the plan's threads and settings."""
        return self._stack.enter_context(self.another_phial({}))

    @cached_property
    def peers(self) -> dict[str, Server]:
        """llama.cpp's server by name, one for every setting tried; none without a peer."""
        if self._peer is None:
            return {}
        found = [self._start_peer(self._peer, flash) for flash in self.plan.flash_attention]
        return {one.name: one for one in found}

    @cached_property
    def loop(self) -> Loop:
        """The generator loop on the same export as the appliance's."""
        return self._start_loop(LOOP, self.subject.folder)

    @cached_property
    def stock_loop(self) -> Loop | None:
        """The generator loop on the stock export, where there is one."""
        return None if self._stock is None else self._start_loop(STOCK_LOOP, self._stock)

    @contextmanager
    def another_phial(
        self,
        settings: Mapping[str, str],
        *,
        name: str = PHIAL,
        group: Group | None = None,
        subject: Subject | None = None,
    ) -> Iterator[Server]:
        """One more appliance, with `settings` on top; in a control group, with another model."""
        subject = subject or self.subject
        command, address, variables = sides.appliance(
            subject.bundle, {**self.plan.environment, **settings}
        )
        log = self.scratch / f"{address.port}.log"
        inside = command if group is None else group.inside(command)
        with sides.listening(inside, address, sides.READY_PATH, log, variables) as served:
            self._started.append(served)
            body: dict[str, Any] = {"model": subject.name, "temperature": 0}
            if self._is_endless:
                body["logit_bias"] = {str(token): SUPPRESSED for token in subject.eos_ids}
            yield Server(name, served, body)

    def prompts(self, count: int, tokens: int) -> list[Prompt]:
        """Random ids, other ones each time: no cache of prefixes may help."""
        drawn = self._random.choice(self.subject.ordinary_ids, (count, tokens))
        found: list[Prompt] = drawn.tolist()
        return found

    def own_cpu_s(self) -> float:
        """CPU seconds of the measurement itself: this process and all that it started."""
        spent = os.times()
        ended_s = spent.children_user + spent.children_system
        living = [one.process.pid for one in self._started if one.process.poll() is None]
        pids = [pid for parent in living for pid in processes.family(parent)]
        return processes.own_cpu_s() + ended_s + processes.cpu_s([*pids, *self._loops])

    def _start_loop(self, name: str, folder: Path) -> Loop:
        log = self.scratch / f"{name.replace(' ', '-')}.log"
        bare = self._stack.enter_context(sides.bare(folder, self.plan.threads, log))
        self._loops.append(bare.process.pid)
        return Loop(name, bare, self._is_endless)

    def _start_peer(self, peer: Peer, flash: str) -> Server:
        plan = self.plan
        setting = server.Setting(plan.threads, plan.clients, plan.context_tokens, flash)
        log = self.scratch / f"llama-{flash}.log"
        served = self._stack.enter_context(server.served(peer.program, peer.model, setting, log))
        self._started.append(served)
        return Server(f"llama.cpp, flash attention {flash}", served, server.GREEDY)
