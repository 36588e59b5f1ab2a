"""The report room: what a run measured, compared and spent, as one HTML file that opens offline."""

from exfm_ray.report.build import write_report

__all__ = ["write_report"]
