"""`python -m edge doctor`: check this host for the bundle, and say what to do."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from edge import bundle, config, log
from edge.bundle import Bundle
from edge.commands import SUMMARIES, host
from edge.commands.finding import Finding, size
from edge.commands.options import overrides, parser
from edge.config import Settings
from edge.errors import StartupError


def run(arguments: Sequence[str]) -> int:
    """Print a line for each finding as it comes; returns 1 where one of them failed, else 0."""
    options = _parser().parse_args(arguments)
    sys.dont_write_bytecode = True  # it is watched whether anything is written
    findings = []
    for finding in examine(options):
        findings.append(finding)
        if not options.json:
            print(finding, flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.status == "fail" for finding in findings))


def examine(options: argparse.Namespace) -> Iterator[Finding]:
    """Every finding, in the order in which they matter."""
    was_off = config.telemetry_is_off()
    config.silence_telemetry()
    environ = {**config.of_process(), **overrides(options)}
    settings, problems = config.survey(environ)
    log.start(settings.log_level if config.variable("log_level") in environ else "error")
    yield from host.settings_found(problems)
    opened, found = _opened(settings)
    yield from found
    if opened is not None:
        yield host.memory_for(opened.manifest, settings)
    yield host.processor(settings)
    yield host.instructions()
    yield host.address(settings)
    yield host.keys(settings)
    yield host.telemetry(was_off)
    is_sound = opened is not None and all(finding.status == "ok" for finding in found)
    yield from _tried(opened if is_sound else None, settings, is_quick=options.quick)


def _opened(settings: Settings) -> tuple[Bundle | None, list[Finding]]:
    """The bundle as far as its manifest can be read, and what is to be said about it."""
    if settings.bundle is None:
        advice = "pass --bundle DIR or set EDGE_BUNDLE"
        return None, [Finding("bundle", "fail", "none is named", advice)]
    try:
        opened = bundle.peek(settings.bundle)
    except StartupError as error:
        advice = "mount the bundle there, or export it anew"
        return None, [Finding("bundle", "fail", text, advice) for text in error.problems]
    try:
        bundle.read(settings.bundle, verify="sha256")
    except StartupError as error:
        advice = "copy or export the bundle anew"
        return opened, [Finding("bundle", "fail", text, advice) for text in error.problems]
    files = opened.manifest.files
    total = size(sum(file.size_bytes for file in files))
    fact = f"{opened.manifest.name}: {len(files)} files, {total}, each has its sha256"
    return opened, [Finding("bundle", "ok", fact)]


def _tried(opened: Bundle | None, settings: Settings, *, is_quick: bool) -> Iterator[Finding]:
    from edge.commands import trial

    if is_quick:
        yield trial.file_system(None)
    elif opened is None:
        yield Finding("load", "warn", "not tried", "mend the bundle first")
    else:
        yield from trial.run(opened, settings)


def _parser() -> argparse.ArgumentParser:
    made = parser("doctor", f"Examine: {SUMMARIES['doctor']}.")
    made.add_argument("--json", action="store_true", help="the findings as one JSON list")
    made.add_argument("--quick", action="store_true", help="do not load the model")
    return made
