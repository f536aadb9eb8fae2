"""The reward service: environments and graders in worker processes that may be killed."""
