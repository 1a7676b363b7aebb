"""Load the model as the appliance would and let it speak: how long that takes here."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from edge import cpu
from edge.bundle import Bundle
from edge.commands import local
from edge.commands.finding import Finding, size
from edge.commands.local import Local
from edge.config import Settings
from edge.errors import EdgeError, StartupError
from edge.generation import Message, Prompt, Request, Sampling

_TOKENS = 32
_PROMPT = "Tell me what a small language model is good for."
# Far below any logit: the answer must not end before it was timed.
_NEVER = -1e9
_IO = Path("/proc/self/io")


def run(bundle: Bundle, settings: Settings) -> list[Finding]:
    """Findings on load, speed and the file system."""
    before = written_bytes()
    found = _model(bundle, settings)
    after = written_bytes()
    return [*found, file_system(None if before is None or after is None else after - before)]


def written_bytes() -> int | None:
    """Bytes that this process sent to storage so far; None where the kernel does not tell."""
    try:
        text = _IO.read_text()
    except OSError:
        return None
    found = re.search(r"^write_bytes: ([0-9]+)$", text, flags=re.MULTILINE)
    return int(found[1]) if found else None


def file_system(written: int | None) -> Finding:
    """Whether anything was written; None where that was not measured."""
    is_locked = bool(os.statvfs("/").f_flag & os.ST_RDONLY)
    mounted = "the root is read-only" if is_locked else "the root can be written to"
    if written:
        advice = "something besides the appliance writes: run with --read-only"
        return Finding("file system", "warn", f"{size(written)} were written, {mounted}", advice)
    fact = mounted if written is None else f"nothing was written, {mounted}"
    return Finding("file system", "ok", fact)


def _model(bundle: Bundle, settings: Settings) -> list[Finding]:
    try:
        with local.loaded(bundle, settings) as model:
            return [_load(model), _speed(model, bundle)]
    except StartupError as error:
        return [Finding("load", "fail", problem) for problem in error.problems]


def _load(model: Local) -> Finding:
    kv_bytes = model.backend.rules.kv_limit_bytes
    return Finding(
        "load",
        "ok",
        f"{model.load_s:.2f} s, then {model.warm_up_s:.2f} s to the first token; "
        f"{size(cpu.resident_bytes())} resident, {size(kv_bytes)} for the KV cache",
    )


def _speed(model: Local, bundle: Bundle) -> Finding:
    began_s = time.perf_counter()
    marks: list[tuple[float, int]] = []
    try:
        generation = model.service.generate(_request(bundle))
        for _ in generation:
            marks.append((time.perf_counter(), generation.usage.completion_tokens))
    except EdgeError as error:
        return Finding("speed", "fail", f"the model gave no answer: {error}")
    (first_s, first), (last_s, last) = marks[0], marks[-1]
    rate = (last - first) / (last_s - first_s) if last > first else 0.0
    return Finding(
        "speed",
        "ok",
        f"first token after {first_s - began_s:.3f} s for a prompt of {generation.prompt_tokens} "
        f"tokens, then {rate:.1f} tokens/s",
    )


def _request(bundle: Bundle) -> Request:
    manifest = bundle.manifest
    chat = Prompt(messages=(Message("user", _PROMPT),))
    return Request(
        operation="chat" if manifest.chat_template else "text_completion",
        prompts=(chat if manifest.chat_template else Prompt(text=_PROMPT),),
        sampling=Sampling(temperature=0, logit_bias=dict.fromkeys(manifest.eos_ids, _NEVER)),
        max_tokens=_TOKENS,
    )
