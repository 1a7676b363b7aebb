"""Pure translation between wire dictionaries and values; no I/O."""
