"""Logs, metrics and the health endpoints.

Import `tetrad_telemetry.logs`, `.context`, `.metrics`, `.exporter`, `.looplag`; this file imports nothing, so that an
entry point that only logs does not load Prometheus.
"""
