"""Embeddings and architectures. Pure torch."""
