"""What several runs have in common: what it is made of, its content key, where it lies, whose turn it is to make it."""
