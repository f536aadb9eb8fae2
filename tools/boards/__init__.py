"""The Grafana boards of Tetrad, as code; `make_dashboards.py` writes their JSON."""
