"""Stage 3: a task becomes solutions and, independently, tests."""
