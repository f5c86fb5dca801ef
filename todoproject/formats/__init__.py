"""Dates as operators read them: seconds count, and the order is the same everywhere."""
