"""What comes out of the numbers: figures for papers, one function each."""
