"""The door of a cluster, knocked at before Ray would wait there for minutes."""

import socket
import threading

import pytest

import exfm_ray.cluster
from exfm_ray.cluster import check_address
from exfm_ray.errors import UserError


@pytest.mark.parametrize(
    ("answer", "told"), [(None, "timed out"), (b"HTTP/1.1 400 Bad Request", "not Ray"), (b"", "not Ray")]
)
def test_a_door_behind_which_nobody_lives_is_told(
    answer: bytes | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exfm_ray.cluster, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if answer is not None:
            threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UserError, match=f"--address: nobody answers at '{address}' .*{told}"):
            check_address(address)


def _answer(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    connection.sendall(answer)
    connection.recv(1_024)
    connection.close()
