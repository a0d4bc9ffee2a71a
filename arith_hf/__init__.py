"""The whole life of a small language model that calculates, on Hugging Face libraries."""

__version__ = "0.1.0"
