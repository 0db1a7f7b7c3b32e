"""What can be said from many runs: rates, tests, shares and associations, with their intervals."""
