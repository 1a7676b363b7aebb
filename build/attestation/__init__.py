"""What is in a finished image, and the documents that say so: SBOMs and provenance."""
