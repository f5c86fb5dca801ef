"""How the pipeline is doing: small, bounded queries to the database, Kafka and Redis."""
