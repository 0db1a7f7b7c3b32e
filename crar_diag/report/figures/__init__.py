"""The figures of the paper, and further ones, drawn from a report alone."""
