"""A model of the accept protocol: the real services on a simulated clock, network and nodes.

Every wait of theirs for the store, a node or the time is a point where the explorer chooses what
happens next; every order of a bounded number of faults and preemptions is tried.
"""
