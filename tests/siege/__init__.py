"""A siege: two gateways on one PostgreSQL, killed again and again, and the database taken away."""
