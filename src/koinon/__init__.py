"""Koinon: a federated cloud front-end."""
