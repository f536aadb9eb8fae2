"""Programs that move weights by collectives, each a process that its service may kill at any moment."""
