"""The shared leaf: what goes over the wire, without I/O and without a clock."""
