"""Joining a gateway: how a service says who it is, proves its URL, and keeps its place there."""
