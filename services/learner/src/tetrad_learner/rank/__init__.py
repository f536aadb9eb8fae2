"""One trainer rank as a process: its link to the coordinator and the loop that obeys it."""
