"""Simulators and loaders of labelled data; nothing is downloaded."""
