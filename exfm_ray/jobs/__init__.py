"""Runs on a cluster that is somewhere else: handed to Ray's job API, followed, stopped, their results fetched."""
