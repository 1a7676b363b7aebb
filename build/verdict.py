"""What the factory says of a model when it is done, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from build.findings import Findings
from edge.bundle import Bundle, Lineage

_SECTIONS = (
    ("supplied or left out", "shims"),
    ("to say by flag", "advice"),
    ("problems", "problems"),
)


@dataclass(slots=True)
class Verdict:
    """The outcome for one URI, filled in as it goes; `bundle` is None where none was written."""

    uri: str
    lineage: Lineage = field(default_factory=Lineage)
    findings: Findings = field(default_factory=Findings)
    bundle: Bundle | None = None

    @property
    def is_good(self) -> bool:
        """Whether there were no problems."""
        return not self.findings.problems

    def as_text(self) -> str:
        """A table of what was found, then lists of shims, advice and problems."""
        rows = [*_lineage_rows(self.uri, self.lineage), *self.findings.facts.items()]
        if self.bundle is not None:
            rows += [("bundle", str(self.bundle.folder)), ("manifest sha256", self.bundle.sha256)]
        lines = list(_table(rows))
        for title, name in _SECTIONS:
            entries: list[str] = getattr(self.findings, name)
            if entries:
                lines += ["", f"{title}:", *(f"  - {entry}" for entry in entries)]
        lines += ["", "verdict: " + ("good" if self.is_good else "cannot be sealed")]
        return "\n".join(lines)

    def as_json(self) -> str:
        """The same as one JSON object."""
        data = {
            "ok": self.is_good,
            "uri": self.uri,
            "lineage": asdict(self.lineage),
            **asdict(self.findings),
            "bundle": str(self.bundle.folder) if self.bundle else None,
            "manifest_sha256": self.bundle.sha256 if self.bundle else None,
        }
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)


def _lineage_rows(uri: str, lineage: Lineage) -> Iterable[tuple[str, str]]:
    yield "asked for", uri
    experiment = f"{lineage.experiment_name} ({lineage.experiment_id})"
    rows = (
        ("resolved", lineage.resolved_uri),
        ("model id", lineage.model_id),
        ("run", lineage.run_id),
        ("experiment", experiment if lineage.experiment_id else ""),
    )
    yield from (row for row in rows if row[1])


def _table(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    every = list(rows)
    width = max((len(label) for label, _ in every), default=0)
    return (f"{label.replace('_', ' '):<{width}}  {value}" for label, value in every)
