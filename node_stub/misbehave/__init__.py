"""A node broker that misbehaves on purpose, to rehearse what a gateway makes of it."""
