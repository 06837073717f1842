"""Turns manifest rows into batches."""
