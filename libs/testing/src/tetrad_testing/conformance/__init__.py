"""Suites that every implementation of a protocol passes; a test module subclasses them and gives the fixture."""
