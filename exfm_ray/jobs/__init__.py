"""Runs and studies on a cluster elsewhere: handed to Ray's job API, followed, stopped, their results fetched."""
