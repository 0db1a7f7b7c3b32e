"""The page: what a report holds, to turn, move and choose, in one file that opens offline."""
