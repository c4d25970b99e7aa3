"""Stage 7: train on the pairs with TRL, in a process of its own."""
