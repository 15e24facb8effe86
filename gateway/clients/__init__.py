"""How the gateway speaks to the services it needs."""
