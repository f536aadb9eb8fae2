"""Untrusted programs, run in a bubblewrap sandbox: no network, of the host only `/usr`, bounded in everything."""
