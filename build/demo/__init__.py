"""The demo model: data, training, export and evaluation of a small Phi-3-architecture chat model.

`python -m build.demo data|train|export|evaluate`. Only `train` and `export` need torch.
"""
