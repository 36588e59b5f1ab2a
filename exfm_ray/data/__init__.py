"""Raw logs or the synthetic stream → day partitions → ordered batches, and how all of it is committed."""
