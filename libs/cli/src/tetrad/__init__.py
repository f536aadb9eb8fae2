"""The module names that commands are called by."""
