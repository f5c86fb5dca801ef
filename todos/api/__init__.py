"""The HTTP API over stored todos: list, read, put, patch, delete. New todos come through the edge."""
