"""One explanation as one HTML file that anyone can open, print and send on."""

from .page import report

__all__ = ["report"]
