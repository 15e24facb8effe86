"""The composition root in parts: what builds and wires objects, and nothing else."""
