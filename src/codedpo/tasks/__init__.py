"""Stage 2: a seed becomes programming concepts, and these become a task."""
