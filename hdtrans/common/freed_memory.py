"""What becomes of the memory of large tensors that are freed: kept for the next ones, or handed back at once."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}
_HAND_BACK = {_TRIM_THRESHOLD: 2**18, _MMAP_THRESHOLD: 2**18, _MMAP_MAX: 65536}


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library keep what is freed, or hand it back, for the whole process; return whether it can.

    By itself, glibc hands tensors of 32 MiB and more back to the system when they are freed, and takes new pages for
    the next ones, which are zeroed one by one: at 2048x1024 that takes longer than norms and activations do. The peak
    stays the same. What is smaller it keeps, in pieces that nothing else may fit; with `keep=False` it hands back all
    from 256 KiB on, so that a process takes no more than its tensors do.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = _KEEP if keep else _HAND_BACK
    return all(mallopt(name, value) == 1 for name, value in settings.items())
