"""The Grafana board and the script that generates it from the catalogue of metrics."""
