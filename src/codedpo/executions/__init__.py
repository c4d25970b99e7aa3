"""Stage 4: every solution against every test, inside the sandbox."""
