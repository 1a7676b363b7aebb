"""The commands of `python -m edge`: a module each, with `run(arguments) -> int`.

`run` takes the words behind the command's name and returns the exit status. It raises
`StartupError` for settings or a bundle that are unusable, and `SystemExit` where argparse ends
the process. A module imports what is heavy only when it needs it: `probe` runs every few seconds.
"""

from __future__ import annotations

DEFAULT = "serve"
SUMMARIES = {
    "serve": "serve the bundle over HTTP; what happens without a command",
    "doctor": "check this host for the bundle and say what to do",
    "version": "what runs here, and which model",
    "chat": "talk to the model in the terminal, without a server",
    "probe": "ask a running appliance whether it is ready",
}
