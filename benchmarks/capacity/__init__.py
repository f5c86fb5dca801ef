"""Predict what a rate of todos needs, from the costs that `make bench-scaling` measured (docs/scaling.md)."""
