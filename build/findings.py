"""What an export learns on its way; the verdict prints it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Findings:
    """Filled by every stage, in the order of the stages.

    `facts` are label and value for the table; `shims` say what was supplied or left out because
    the model did not say or said something of the past; `advice` names the flags that would say
    it; `problems` keep the model from being served, and all of them are collected.
    """

    facts: dict[str, str] = field(default_factory=dict)
    shims: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
