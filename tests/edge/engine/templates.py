"""Chat templates of the kinds that models for tools come with, each as small as it can be."""

from __future__ import annotations

PLAIN = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{{ '<|assistant|>\n' }}"
)
# Tools as a parameter, calls as tagged objects, results as turns of the user.
TAGGED = (
    "{%- if tools %}{{- '<|system|>\n# Tools\n' }}"
    "{%- for tool in tools %}{{- tool | tojson }}{{- '\n' }}{%- endfor %}"
    "{{- 'Answer by <tool_call>.<|end|>\n' }}{%- endif %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'tool' %}"
    "{{- '<|user|>\n<tool_response>\n' + m.content + '\n</tool_response><|end|>\n' }}"
    "{%- elif m.tool_calls %}{{- '<|assistant|>\n' + m.content }}"
    "{%- for call in m.tool_calls %}{%- set f = call.function %}"
    '{{- \'<tool_call>\n{"name": "\' + f.name + \'", "arguments": \' }}'
    "{{- f.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|end|>\n' }}"
    "{%- else %}{{- '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{%- endif %}"
    "{%- endfor %}{{- '<|assistant|>\n' }}"
)
# A bare object with `parameters`, one call at a time, results under a role of their own.
BARE = (
    '{%- if tools %}{{- \'<|system|>\nUse {"name": name, "parameters": {}}.\n\' }}'
    "{{- tools | tojson }}{{- '<|end|>\n' }}{%- endif %}"
    "{%- for m in messages %}"
    "{%- if m.tool_calls is defined %}"
    "{%- if m.tool_calls | length != 1 %}{{- raise_exception('one call at a time') }}{%- endif %}"
    "{%- set f = m.tool_calls[0].function %}"
    '{{- \'<|assistant|>\n{"name": "\' + f.name + \'", "parameters": \' }}'
    "{{- f.arguments | tojson }}{{- '}<|end|>\n' }}"
    "{%- elif m.role == 'tool' %}{{- '<|ipython|>\n' + m.content + '<|end|>\n' }}"
    "{%- else %}{{- '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{%- endif %}"
    "{%- endfor %}{{- '<|assistant|>\n' }}"
)
# Tools within the system message; neither calls nor results of their own.
IN_MESSAGE = (
    "{% for m in messages %}{% if m.role == 'system' and 'tools' in m and m.tools is not none %}"
    "{{ '<|system|>' + m.content + '<|tool|>' + m.tools + '<|/tool|><|end|>' }}{% else %}"
    "{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}{{ '<|assistant|>' }}"
)
# One list in brackets; the ids of calls have nine letters and digits.
BRACKETED = (
    "{%- if tools %}{{- '[AVAILABLE_TOOLS]' }}{{- tools | tojson }}{{- '[/AVAILABLE_TOOLS]' }}"
    "{%- endif %}{%- for m in messages %}"
    "{%- if m.tool_calls is defined %}{{- '[TOOL_CALLS][' }}"
    "{%- for call in m.tool_calls %}"
    "{%- if call.id | length != 9 %}{{- raise_exception('nine letters') }}{%- endif %}"
    '{{- \'{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{- call.function.arguments | tojson }}{{- ', \"id\": \"' + call.id + '\"}' }}"
    "{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ']' }}"
    "{%- elif m.role == 'tool' %}{{- '[TOOL_RESULTS]' + m.content + '|' + m.tool_call_id + '|' }}"
    "{{- m.name + '[/TOOL_RESULTS]' }}"
    "{%- else %}{{- '[INST]' + m.content + '[/INST]' }}{%- endif %}{%- endfor %}"
)
# Calls in a notation that is not JSON.
FOREIGN = (
    "{%- if tools %}{{- tools | tojson }}{%- endif %}{%- for m in messages %}"
    "{%- if m.tool_calls %}{%- for call in m.tool_calls %}"
    "{{- '<tool_call>' + call.function.name + '<arg>' }}{{- call.function.arguments | tojson }}"
    "{%- endfor %}"
    "{%- else %}{{- '<|' + m.role + '|>' + m.content }}{%- endif %}{%- endfor %}"
    "{{- '<|assistant|>' }}"
)
# No system messages, and turns that alternate.
STRICT = (
    "{%- for m in messages %}"
    "{%- if m.role == 'system' %}{{- raise_exception('no system') }}{%- endif %}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('turns') }}{%- endif %}"
    "{{- '<' + m.role + '>' + m.content }}{%- endfor %}{{- '<model>' }}"
)
