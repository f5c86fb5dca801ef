"""How the pipeline does: questions to the database, Kafka and Redis, each of them small and bounded."""
