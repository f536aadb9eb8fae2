"""The trainer ranks of a host that is not the coordinator's: started, watched and ended as the coordinator says."""
