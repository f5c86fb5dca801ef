"""Imports of files into Kafka: `lines` reads and checks, `run` sends, `job` keeps how far the import has come."""
