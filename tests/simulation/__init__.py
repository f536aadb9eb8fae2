"""A seeded world around the real core: virtual time, a bad network, crashes at any point."""
