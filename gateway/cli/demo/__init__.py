"""A federation on this machine that runs real work on real data: ``python -m gateway.cli.demo``."""
