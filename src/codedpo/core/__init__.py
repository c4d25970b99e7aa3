"""What every stage builds on: rows, tables, config, run folder. No torch, no network, no stage."""
