"""The appliance: requests in, tokens and metrics out."""

__version__ = "0.1.0"
