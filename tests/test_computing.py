"""Memory that a process asks for and frees again, as every training step does, in a process of its own."""

import json
import platform
import subprocess
import sys
from typing import Any

import pytest

MEBIBYTE = 2**20
ALLOCATE = """
import ctypes
import json
import pyarrow as pa
import torch
from exfm_ray.computing import begin_computing

class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("heap", "a", "b", "c", "apart", "d", "e", "f", "g", "h")]

ask = ctypes.CDLL(None).mallinfo2
ask.restype = Memory

if {begins}:
    begin_computing()
before = ask()
tensors = [torch.ones(15 * 2**19) for _ in range(10)]
with_them = ask()
tensors.clear()
after = ask()
print(json.dumps(dict(
    apart=with_them.apart - before.apart, given_back=max(with_them.heap - after.heap, 0),
    threads=torch.get_num_threads(), pool=pa.default_memory_pool().backend_name,
)))
"""


def told(*, begins: bool) -> dict[str, Any]:
    """What becomes of ten tensors of 30 MiB: bytes outside the heap, bytes of it that the system has back."""
    command = [sys.executable, "-c", ALLOCATE.format(begins=begins)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has an allocator of its own")
def test_a_process_that_computes_keeps_what_it_frees() -> None:
    assert told(begins=False)["apart"] >= 30 * MEBIBYTE
    assert told(begins=True) == {"apart": 0, "given_back": 0, "threads": 1, "pool": "system"}
