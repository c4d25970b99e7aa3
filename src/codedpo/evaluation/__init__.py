"""Stage 8: judge the model before and after training on known problems."""
