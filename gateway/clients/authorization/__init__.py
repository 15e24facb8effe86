"""What the gateway shows nodes of itself and its callers, where that is more than a fixed text."""
