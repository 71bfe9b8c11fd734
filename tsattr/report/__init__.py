"""One explanation as one HTML file that anyone can open, print and send on."""

from tsattr.report.page import report

__all__ = ["report"]
