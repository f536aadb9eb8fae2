"""How a rollout replica comes to its weights."""
