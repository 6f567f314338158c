"""Architectures, put together from layers."""
