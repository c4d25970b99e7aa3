"""Programs in, verdicts out: model-written code runs here and nowhere else."""
