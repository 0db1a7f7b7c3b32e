"""What comes out of the numbers: reports (HDF5), statistics, figures for papers, the page."""
