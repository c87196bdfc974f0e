"""Limits that reading a file must keep, whatever the file claims."""

from __future__ import annotations

DEFAULT_MAX_PIXELS = 178_956_970
"""Pixels of one image: where Pillow itself stops, 512 MiB of RGB samples."""

MAX_METADATA_BYTES = 1 << 28
"""Bytes of one block of metadata that is read before the image is: EXIF and ICC stay far below."""
