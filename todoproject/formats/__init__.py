"""Formats of dates in the admin: with seconds, and in the same order everywhere."""
