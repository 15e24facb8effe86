"""A model of the accept protocol: the real services on a simulated clock, network and nodes.

With it come what a client does to have offers at all, under an idempotency key, and what the
gateways do when the node of an accepted session is lost: they have it executed elsewhere, once.

Every wait of theirs for the store, a node or the time is a point where the explorer chooses what
happens next; every order of a bounded number of faults and preemptions is tried.
"""
