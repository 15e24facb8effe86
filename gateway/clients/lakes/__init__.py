"""Data lakes: the catalogues that know which data there are and where their replicas lie."""
