"""Allocator policy for freed memory: keep it for the next tensors, or return it to the system."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # values of glibc's malloc.h
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}
_HAND_BACK = {_TRIM_THRESHOLD: 2**18, _MMAP_THRESHOLD: 2**18, _MMAP_MAX: 65536}


def keep_freed_memory(keep: bool = True) -> bool:
    """Set the allocator's policy for the whole process; return False on a system without glibc.

    By default, glibc returns freed tensors of 32 MiB and more to the system, and takes new pages for the next ones,
    which are zeroed one by one: at 2048x1024 that takes longer than norms and activations. Keeping them does not
    change the peak. Smaller blocks are kept by default, in fragments that may fit nothing else.

    Args:
        keep: True keeps all freed memory; False returns blocks of 256 KiB and more, so that a process holds little more
            than its tensors.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = _KEEP if keep else _HAND_BACK
    return all(mallopt(name, value) == 1 for name, value in settings.items())
