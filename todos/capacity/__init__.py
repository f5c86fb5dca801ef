"""What a rate of todos needs, reckoned from what `make bench-scaling` measured. docs/scaling.md tells how."""
