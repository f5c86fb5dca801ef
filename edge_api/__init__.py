"""The FastAPI edge: HTTP in, Kafka out, no database."""
