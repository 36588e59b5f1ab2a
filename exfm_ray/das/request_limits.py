"""How much one request from outside may ask for."""

from pydantic import Field

from exfm_ray.config.section import Section
from exfm_ray.das.refusal import RefusedError


class RequestLimits(Section):
    """Bounds that always hold; there is no value that lifts one."""

    body_bytes: int = Field(default=16_777_216, ge=1_024, le=1_073_741_824)
    rows: int = Field(default=65_536, ge=1, le=1_048_576)
    history: int = Field(default=1_024, ge=1, le=65_536, description="values of one sequence feature in one row")

    def check_bytes(self, count: int) -> None:
        """Raises RefusedError: 413."""
        if count > self.body_bytes:
            raise RefusedError(413, f"body: more than {self.body_bytes} bytes; send fewer rows per request")

    def check_rows(self, count: int) -> None:
        """Raises RefusedError: 413 for too many, 422 for none."""
        if count > self.rows:
            raise RefusedError(413, f"rows: found {count}; at most {self.rows} are allowed per request")
        if count == 0:
            raise RefusedError(422, f"rows: found none; give from 1 to {self.rows}")
