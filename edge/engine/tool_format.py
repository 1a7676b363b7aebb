"""How models write their tool calls: the notations that they were trained with, as data.

A notation is told by its markers, in the chat template or among the tokens that a tokenizer adds
to its vocabulary, never by a model's name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge.generation import ToolCall


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """The text around names and arguments; arguments are one line of JSON.

    `begin` opens the calls of an answer, "" where a call is a bare JSON object that begins it;
    `opening` stands before the first call, `joint` between two ("" where there is one at most),
    `closing` after the last. A call is `before_name`, its name, `before_arguments`, the arguments,
    `after`.
    """

    begin: str
    opening: str
    joint: str
    closing: str
    before_name: str = '{"name": "'
    before_arguments: str = '", "arguments": '
    after: str = "}"

    @property
    def marker(self) -> str:
        """What tells a call from other text."""
        return self.begin or self.before_name

    @property
    def is_leading(self) -> bool:
        """Whether calls are known only by how the answer begins."""
        return not self.begin

    @property
    def parts(self) -> tuple[str, ...]:
        """Every fixed text: where markers may stand."""
        fixed = (self.begin, self.opening, self.joint, self.closing)
        return (*fixed, self.before_name, self.before_arguments, self.after)

    def text(self, calls: Sequence[ToolCall]) -> str:
        """`calls` as the model writes them; several follow one another where it joins none."""
        written = [self._call(call) for call in calls]
        if self.joint or len(calls) < 2:
            return f"{self.begin}{self.opening}{self.joint.join(written)}{self.closing}"
        return "\n".join(self.text([call]) for call in calls)

    def _call(self, call: ToolCall) -> str:
        arguments = json.dumps(json.loads(call.arguments), ensure_ascii=False)
        return f"{self.before_name}{call.name}{self.before_arguments}{arguments}{self.after}"


# Hermes, Qwen, SmolLM3, Granite 4: one object a tag.
TAGGED = ToolFormat("<tool_call>", "\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>")
# Phi-4-mini: one list between two tokens.
ENCLOSED_LIST = ToolFormat("<|tool_call|>", "[", ", ", "]<|/tool_call|>")
# Granite 3: one list after a token.
MARKED_LIST = ToolFormat("<|tool_call|>", "[", ", ", "]")
# Mistral up to 2024.
BRACKETED_LIST = ToolFormat("[TOOL_CALLS]", "[", ", ", "]")
# Mistral since 2025: the name in plain text.
BRACKETED_NAME = ToolFormat("[TOOL_CALLS]", "", "[TOOL_CALLS]", "", "", "[ARGS]", "")
# Llama 3.1 and 3.2: a bare object, one at most.
BARE = ToolFormat("", "", "", "", before_arguments='", "parameters": ')

DEFAULT = TAGGED
# The first whose markers are all known to the model; more markers come before fewer.
_MARKED: tuple[tuple[ToolFormat, tuple[str, ...]], ...] = (
    (ENCLOSED_LIST, ("<|tool_call|>", "<|/tool_call|>")),
    (MARKED_LIST, ("<|tool_call|>",)),
    (BRACKETED_NAME, ("[TOOL_CALLS]", "[ARGS]")),
    (BRACKETED_LIST, ("[TOOL_CALLS]",)),
    (TAGGED, ("<tool_call>",)),
)


def detect(template: str, added: Collection[str]) -> ToolFormat | None:
    """The notation whose markers this chat template or these added tokens hold, None for none."""
    for form, markers in _MARKED:
        if all(marker in template or marker in added for marker in markers):
            return form
    is_bare = all(sign in template for sign in ("tool_calls", '{"name": ', '"parameters": '))
    return BARE if is_bare else None
