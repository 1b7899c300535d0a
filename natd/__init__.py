"""natd: real-time ears for language models."""

__version__ = "0.1.0"
