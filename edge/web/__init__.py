"""HTTP: the only package that imports flask."""
