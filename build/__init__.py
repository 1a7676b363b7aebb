"""The factory: a model URI in, a bundle or an image out."""
