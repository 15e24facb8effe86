"""Programs and notebooks that run as processes on the node's own machine."""
