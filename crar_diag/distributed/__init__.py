"""Runs in shards: parts of a population that train by themselves, here or on a cluster."""
