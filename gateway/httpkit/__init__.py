"""The HTTP behaviour that gateway and node share."""
