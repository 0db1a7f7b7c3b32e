"""CRAR agents: networks, losses, the population engine, evaluation, training, checkpoints."""
