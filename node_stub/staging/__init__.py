"""Data that sessions need, fetched to where they run; and results sent where they should go."""
