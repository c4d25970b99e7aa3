"""One command per claim on speed or quality: `python -m bench.NAME`, whose last line is JSON."""
