"""Which solutions and which tests of a task to believe, from who passed what and who returned what."""
