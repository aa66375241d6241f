"""The HTTP API of the domain."""
