"""A node broker: offers what one site can run, and drives accepted sessions to their end."""
