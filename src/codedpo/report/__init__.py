"""Stage 9: one static page, and the summary in the terminal."""
