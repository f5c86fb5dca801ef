"""Tokens of API clients: the keys that sign them, how they are issued, and how the API verifies them."""
