"""The models: a protocol, and what implements it."""
