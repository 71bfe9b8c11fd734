"""Labelled data as plain arrays and back: dims, coordinates, tables, alignment."""
