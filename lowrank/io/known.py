"""Files that are sound and are not read, by the bytes that they begin with: what they are."""

from __future__ import annotations

from lowrank.errors import ImageError, pip_install
from lowrank.io import heif, jp2, tiff

_CONVERT = "convert it to PNG or TIFF first"
_JXL = f"a JPEG XL image, which pillow-jxl-plugin reads; {pip_install('jxl')}, or convert it to PNG"
_DEVELOP = "a camera's raw file; develop it to a TIFF or a PNG first"

# Bytes at the start, and what they say; the first that fits counts.
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", _JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _JXL),
    (b"II\xbc\1", f"a JPEG XR image, which is not read; {_CONVERT}"),
    (b"8BPS\0\1", "a Photoshop document, which is not read; export it as PNG or TIFF"),
    (b"8BPS\0\2", "a large Photoshop document (PSB), which is not read; export it as TIFF"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image, which is not read; convert it to a TIFF of floats"),
    (b"#?RADIANCE", "a Radiance HDR image, which is not read; convert it to a TIFF of floats"),
    (b"#?RGBE", "a Radiance HDR image, which is not read; convert it to a TIFF of floats"),
    (b"PF\n", "a PFM of three colours, and floats are read in grey only; give one channel"),
    (b"PF ", "a PFM of three colours, and floats are read in grey only; give one channel"),
    (b"P7\n", "a PAM image, which is not read; convert it to PNM or PNG"),
    (b"gimp xcf", "a GIMP document, which is not read; export it as PNG or TIFF"),
    (b"II*\0\x10\0\0\0CR", f"a Canon CR2, {_DEVELOP}"),
    (b"FUJIFILMCCD-RAW", f"a Fujifilm RAF, {_DEVELOP}"),
    (b"IIU\0", f"a Panasonic RW2, {_DEVELOP}"),
    (b"IIRO", f"an Olympus ORF, {_DEVELOP}"),
    (b"IIRS", f"an Olympus ORF, {_DEVELOP}"),
    (b"MMOR", f"an Olympus ORF, {_DEVELOP}"),
    (b"FOVb", f"a Sigma X3F, {_DEVELOP}"),
    (b"\0MRM", f"a Minolta MRW, {_DEVELOP}"),
    (b"II\x1a\0\0\0HEAPCCDR", f"a Canon CRW, {_DEVELOP}"),
    (b"%PDF-", "a PDF document; render its page to a PNG first"),
    (b"%!PS", "a PostScript file, which is not run; render it to a PNG first"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file, which is not run; render it to a PNG first"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile, which is not drawn; render it to a PNG first"),
    (b"\0\0\1\0", f"a Windows icon, which is not read; {_CONVERT}"),
    (b"\0\0\2\0\0\0", f"a Targa image, which is not read; {_CONVERT}"),
    (b"\0\0\2\0", f"a Windows cursor, which is not read; {_CONVERT}"),
    (b"icns", f"a macOS icon, which is not read; {_CONVERT}"),
    (b"DDS ", f"a DDS texture, which is not read; {_CONVERT}"),
    (b"\xabKTX ", f"a KTX texture, which is not read; {_CONVERT}"),
    (b"SIMPLE  =", "a FITS image, which is not read; save its array as a TIFF of floats"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, which is not read; save its array as a TIFF"),
    (b"CDF\1", "a NetCDF file, which is not read; save its array as a TIFF"),
    (b"CDF\2", "a NetCDF file, which is not read; save its array as a TIFF"),
    (b"\x8aMNG\r\n\x1a\n", f"an MNG animation, which is not read; {_CONVERT}"),
    (b"\x8bJNG\r\n\x1a\n", f"a JNG image, which is not read; {_CONVERT}"),
    (b"BPG\xfb", f"a BPG image, which is not read; {_CONVERT}"),
    (b"FLIF", f"a FLIF image, which is not read; {_CONVERT}"),
    (b"\x97JB2\r\n\x1a\n", f"a JBIG2 image, which is not read; {_CONVERT}"),
    (b"AT&TFORM", "a DjVu document, which is not read; render its page to a PNG first"),
    (b"\1\xda", f"an SGI image, which is not read; {_CONVERT}"),
    (b"\x59\xa6\x6a\x95", f"a Sun raster, which is not read; {_CONVERT}"),
    (b"/* XPM */", f"an XPM image, which is not read; {_CONVERT}"),
    (b"#define ", f"an XBM image, or C source, which is not read; {_CONVERT}"),
    (b"\x0a\5\1", f"a PCX image, which is not read; {_CONVERT}"),
    (b"\x89LRK\r\n\x1a\n", "a .lrk file already; lowrank decompress makes an image of it"),
    (b"\0\5\x16\7", "the AppleDouble companion of another file; give that file"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; git lfs pull gets it"),
    (b"PK\3\4", "a ZIP archive; give the images in it"),
    (b"PK\5\6", "an archive of no files; save an array, or give the images themselves"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video; give one of its frames"),
)

_HEIC = f"a HEIC image, which pillow-heif reads; {pip_install('heif')}, or convert it to PNG first"

# Formats that Pillow would take for another of the same first bytes.
_TAKEN_WRONGLY = tuple(start for start, _ in _STARTS if start.startswith(b"II*"))


def refuse(data: bytes) -> None:
    """Refuse what Pillow would take for something else.

    Raises
    ------
    ImageError
        A raw file whose first image is a preview; a TIFF of an unknown compression.
    """
    if data.startswith(_TAKEN_WRONGLY):
        raise ImageError(str(name(data)))
    tiff.refuse(data)


def name(data: bytes) -> str | None:
    """What a file is that no decoder took, and what to do; None where nothing is known."""
    for start, text in _STARTS:
        if data.startswith(start):
            return text
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data[4:8] == b"ftyp":
        if heif.is_heif(data):
            return _HEIC
        brand = data[8:12]
        if brand == b"crx ":
            return f"a Canon CR3, {_DEVELOP}"
        if brand not in (b"avif", b"avis", *heif.BRANDS):
            return "a video, or an image in a box of ISO media; give a PNG of it"
    if data[128:132] == b"DICM":
        return "a DICOM image, which is not read; export it as a TIFF of 16 bits"
    if data[40:44] == b" EMF":
        return "a Windows metafile, which is not drawn; render it to a PNG first"
    text_start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text_start.startswith((b"<?xml", b"<svg", b"<!doctype svg")) and b"<svg" in data[:4096]:
        return "an SVG drawing; render it to a PNG first"
    if text_start.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image; the download has failed, get it again"
    return tiff.name(data) or jp2.name(data)


def _jpeg(data: bytes) -> str | None:
    """What a file in the frame of a JPEG is, by its start-of-frame segment."""
    at = 2
    while at + 5 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xF7:
            return f"a JPEG-LS image, which is not read; {_CONVERT}"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = data[at + 4]
            deep = f"a JPEG of {bits} bits, of which only those of 8 are read; {_CONVERT}"
            return deep if bits in (12, 16) else None
        at += 2 + size
    return None
