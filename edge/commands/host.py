"""Checks of the machine and the container around the appliance; nothing is loaded for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge import config, cpu, memory
from edge.bundle import Manifest
from edge.commands import probe
from edge.commands.finding import Finding, Status, size, whole
from edge.commands.serve import check_address
from edge.config import Settings
from edge.errors import StartupError
from edge.memory import Appetite

_ROOT = Path("/")
# What the two processes take besides weights and KV cache, measured with a model of 3 MB.
_BARE_BYTES = 100 << 20
# Per architecture: what quantized models need to be fast, and what makes them faster still.
_FAST = {"x86_64": "avx2", "aarch64": "asimddp"}
_FASTER = {"x86_64": ("avx512_vnni", "avx_vnni"), "aarch64": ("i8mm",)}


def memory_for(manifest: Manifest, settings: Settings, root: Path = _ROOT) -> Finding:
    """Whether the memory limit holds the weights, a full context, and one for every slot."""
    weights_bytes = sum(file.size_bytes for file in manifest.files)
    resident_bytes = weights_bytes + _BARE_BYTES
    appetite = Appetite(settings.slots, manifest.context_length, manifest.kv_bytes_per_token)
    left_bytes = memory.left_bytes(resident_bytes, root)
    kv_bytes = settings.kv_limit or memory.for_kv_bytes(appetite, resident_bytes, root)
    fact = (
        f"{size(cpu.memory_limit_bytes(root))} allowed, model {size(weights_bytes)}, KV cache up "
        f"to {size(kv_bytes)}; a full context of {manifest.context_length} tokens takes "
        f"{size(appetite.context_bytes)}, {settings.slots} of them {size(appetite.most_bytes)}"
    )
    least_bytes = max(appetite.least_bytes, 1)
    if left_bytes < least_bytes:
        wanted = whole(memory.limit_for_bytes(appetite.context_bytes, resident_bytes))
        return Finding("memory", "fail", fact, f"raise the memory limit to {wanted}")
    if settings.kv_limit is not None:
        status, advice = _own_limit(settings.kv_limit, appetite, left_bytes)
    else:
        status, advice = _automatic_limit(kv_bytes, appetite, resident_bytes)
    return Finding("memory", status, fact, advice)


def _own_limit(kv_bytes: int, appetite: Appetite, left_bytes: int) -> tuple[Status, str]:
    if kv_bytes < appetite.least_bytes:
        return "fail", f"raise EDGE_KV_LIMIT to {whole(appetite.context_bytes)}"
    if min(kv_bytes, appetite.most_bytes) > left_bytes:
        return "warn", f"lower EDGE_KV_LIMIT below {whole(left_bytes)} or unset it"
    if kv_bytes < appetite.context_bytes:
        tokens = kv_bytes // appetite.kv_bytes_per_token
        return "warn", f"requests of more than {tokens} tokens are refused: raise EDGE_KV_LIMIT"
    return "ok", ""


def _automatic_limit(kv_bytes: int, appetite: Appetite, resident_bytes: int) -> tuple[Status, str]:
    if kv_bytes < appetite.context_bytes:
        tokens = kv_bytes // appetite.kv_bytes_per_token
        wanted = whole(memory.limit_for_bytes(appetite.context_bytes, resident_bytes))
        return "warn", f"requests of more than {tokens} tokens are refused: allow {wanted}"
    if kv_bytes < appetite.most_bytes:
        fitting = kv_bytes // appetite.context_bytes
        wanted = whole(memory.limit_for_bytes(appetite.most_bytes, resident_bytes))
        return "warn", f"room for {fitting} full contexts, others wait: allow {wanted} for all"
    return "ok", ""


def processor(settings: Settings, root: Path = _ROOT) -> Finding:
    """How many threads the engine takes, and why."""
    affinity, quota = len(os.sched_getaffinity(0)), cpu.quota_cores(root)
    automatic = cpu.engine_threads(root)
    threads = settings.threads or automatic
    share = f"a quota of {quota:g} of them" if quota < affinity else "no quota below that"
    reason = "by EDGE_THREADS" if settings.threads else _reason(automatic, quota)
    fact = f"{affinity} cores by affinity, {share}: {threads} engine threads, {reason}"
    if threads > automatic:
        advice = "unset EDGE_THREADS: more threads than that stall each other"
        return Finding("processor", "warn", fact, advice)
    if quota < 1:
        advice = "allow a whole core (--cpus 1): every token waits for the quota now"
        return Finding("processor", "warn", fact, advice)
    return Finding("processor", "ok", fact)


def _reason(threads: int, quota: float) -> str:
    if threads < cpu.threads(quota):
        return "one for each core that is fast"
    return "the quota, rounded"


def instructions(root: Path = _ROOT, machine: str | None = None) -> Finding:
    """Whether the core has what fast integer products need; `machine` as uname writes it."""
    machine = machine or os.uname().machine
    if machine not in _FAST:
        known = " or ".join(_FAST)
        advice = f"run on {known}: the runtime has no fast paths for others"
        return Finding("instructions", "warn", machine, advice)
    found, fast, faster = cpu.features(root), _FAST[machine], _FASTER[machine]
    if not found:
        return Finding("instructions", "warn", f"{machine}; /proc/cpuinfo lists none")
    if fast not in found:
        advice = "quantized models run at a fraction of their speed on this core"
        return Finding("instructions", "warn", f"{machine} without {fast}", advice)
    extra = [name for name in faster if name in found]
    rest = ", ".join(extra) if extra else f"not {' or '.join(faster)}"
    return Finding("instructions", "ok", f"{machine} with {fast}, {rest}")


def address(settings: Settings) -> Finding:
    """Whether the appliance can listen, or already does."""
    try:
        check_address(settings)
    except StartupError as error:
        try:
            probe.ask(*probe.where(settings))
        except (StartupError, OSError):
            return Finding("address", "fail", str(error), "choose another EDGE_HOST or EDGE_PORT")
        return Finding("address", "ok", f"an appliance is ready there: port {settings.port}")
    return Finding("address", "ok", f"{settings.host}, port {settings.port} is free")


def keys(settings: Settings) -> Finding:
    """Whether the API keys can be read, and whether some are needed."""
    try:
        count = len(config.api_keys(settings))
    except StartupError as error:
        return Finding("API keys", "fail", str(error), "mount the file so that this user reads it")
    if count:
        return Finding("API keys", "ok", f"{count} in EDGE_API_KEY_FILE")
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        return Finding("API keys", "ok", "none, and only this host can call")
    advice = "set EDGE_API_KEY_FILE, unless everyone who reaches the port may use the model"
    return Finding("API keys", "warn", "none are asked for", advice)


def telemetry(is_off: bool) -> Finding:
    """Whether the runtimes' telemetry is off in the environment already."""
    if is_off:
        return Finding("telemetry", "ok", "off: ORT_DISABLE_TELEMETRY=1")
    advice = "set ORT_DISABLE_TELEMETRY=1 for other programs here; the appliance does so for itself"
    return Finding("telemetry", "warn", "ORT_DISABLE_TELEMETRY is not 1", advice)


def settings_found(problems: list[str]) -> Iterator[Finding]:
    """One finding a problem, or one that there is none."""
    for problem in problems:
        yield Finding("settings", "fail", problem, "the appliance does not start with it")
    if not problems:
        yield Finding("settings", "ok", "every EDGE_* variable is known and has a good value")
