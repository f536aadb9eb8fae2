"""Black-box checks of services that others wrote, in whatever language: what `tetrad conformance` runs."""
