"""Figures for Prometheus, on a port or in a file. The only home of prometheus-client."""
