"""transformers models on torch behind the Engine protocol: the only importer of either."""
