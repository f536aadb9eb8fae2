"""`tetrad samples`: a run's journal as one HTML file to look at."""
