"""Containers, run by Docker Engine or Podman on the node's own machine."""
