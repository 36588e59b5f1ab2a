"""Drifting streams in the shape of the public data sets."""
