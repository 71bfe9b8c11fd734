"""Explain models of time series and tables over labelled data."""
