"""Real PostgreSQL, Valkey and Apache Kafka on this machine, from wheels and jars, without Docker."""

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.process import ServiceError
from devstack.valkey import Valkey

__all__ = ["Kafka", "Postgres", "ServiceError", "Valkey"]
