"""Optuna's dashboard over a study's storage."""

from collections.abc import Callable

from exfm_ray.errors import UserError

PORT = 8080


def show_dashboard(storage: str, tell: Callable[[str], None], port: int = PORT) -> None:
    """Serve the dashboard on loopback until Ctrl-C.

    Args:
        storage: SQLAlchemy URL of the study's.

    Raises:
        UserError: the package is not installed, or the port is taken.
    """
    try:
        from optuna_dashboard import run_server
    except ImportError as error:
        raise UserError(
            "--dashboard: the package optuna-dashboard is not installed; pip install 'exfm_ray[dashboard]'"
        ) from error
    tell(f"the dashboard is at http://127.0.0.1:{port}; Ctrl-C stops it")
    try:
        run_server(storage, host="127.0.0.1", port=port)
    except OSError as error:
        raise UserError(f"--dashboard: port {port} cannot be opened ({error.strerror}); stop what uses it") from error
