"""Scores and timings -> preference pairs, checked and exported."""
