"""Prometheus and Grafana beside a run, where they are installed.

`prometheus/` and `grafana/` are what lies in `deploy/` of the repository: links there, files in the wheel.
"""
