"""`exfm prepare`: a raw log becomes day partitions that recipes point at."""

from collections.abc import Iterator

from exfm_ray.config import KuaiRandData
from exfm_ray.data.commit import require
from exfm_ray.data.dataset import SOURCE_FILE
from exfm_ray.data.kuairand import KuaiRandSource
from exfm_ray.data.kuairand_check import check_kuairand
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import prepare
from exfm_ray.errors import UserError


def prepare_log(config: KuaiRandData, out: Location) -> Iterator[str]:
    """Prepare what is missing; yields lines for the user.

    Raises:
        UserError: the log lacks something, or `out` holds days that were prepared with other settings.
    """
    check_kuairand(config)
    source = KuaiRandSource(config)
    settings = config.model_dump_json(indent=1).encode()
    place = out / SOURCE_FILE
    if place.is_file() and place.read() != settings:
        raise UserError(f"--out: {out} holds days prepared with other settings ({place}); name another directory")
    if not place.is_file() and out.children():
        raise UserError(f"--out: {out} is not empty and holds no prepared data; name another directory")
    place.write(settings)
    prepare(source, out)
    for name, value in source.summary().items():
        yield f"{name}: {value}"
    rows = sum(require(out.day(day)).rows for day in range(1, source.days + 1))
    yield f"prepared {source.days} days, {rows} rows: {out}"
