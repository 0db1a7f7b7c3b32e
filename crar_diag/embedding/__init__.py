"""What became of an embedding: distances, alignments, kinds of outcome, groups of runs."""
