"""Names of colour profiles (ICC)."""

import io
from functools import lru_cache

_SRGB = ("srgb", "sgray", "gray gamma 2.2")  # in the names of profiles whose numbers are sRGB's
_SMALL_SRGB = ("c2", "c2ci", "urgb")  # names of the shortest of them, as web sites write them


@lru_cache(maxsize=64)
def profile_name(profile: bytes | None) -> str:
    """Return the name of a colour profile; '' for none, for sRGB, and for a profile that cannot be read."""
    if not profile:
        return ""
    from PIL import ImageCms

    try:
        name = (ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.profile_description or "").strip()
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return ""
    small = name.lower()
    return "" if small in _SMALL_SRGB or any(word in small for word in _SRGB) else name or "without a name"
