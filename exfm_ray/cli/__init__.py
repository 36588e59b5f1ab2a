"""The command `exfm`."""

from exfm_ray.cli.app import app, main

__all__ = ["app", "main"]
