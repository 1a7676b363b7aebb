"""The fast engine: our own decode loop over an exported decoder graph, many rows a run."""
