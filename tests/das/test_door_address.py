"""Where the door may listen."""

import socket

import pytest

from exfm_ray.das.door_address import base_url, check_host, free_port
from exfm_ray.errors import UserError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    check_host(host, has_token=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1"])
def test_other_machines_need_one(host: str) -> None:
    check_host(host, has_token=True)
    with pytest.raises(UserError, match=f"^--host: '{host}' lets other machines in, which takes a token; give"):
        check_host(host, has_token=False)


def test_zero_gives_a_port_that_nobody_has() -> None:
    port = free_port("127.0.0.1", "0")
    with socket.create_server(("127.0.0.1", port)):
        assert free_port("127.0.0.1", "0") != port
        with pytest.raises(UserError, match=f"^--http: cannot listen on port {port} of 127.0.0.1 "):
            free_port("127.0.0.1", str(port))
    assert free_port("127.0.0.1", str(port)) == port


def test_an_address_that_is_not_this_machine_s_is_told() -> None:
    with pytest.raises(
        UserError, match=r"^--http: cannot listen on port 0 of 203\.0\.113\.1 \(Cannot assign requested"
    ):
        free_port("203.0.113.1", "0")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
    ],
)
def test_the_address_that_this_machine_uses(host: str, url: str) -> None:
    assert base_url(host, 80) == url
