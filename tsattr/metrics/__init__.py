"""Measures of an attribution: plain functions of plain arrays."""
