r"""The `.lrk` file format, version 1: bytes <-> parts.

A file is a signature, a version and chunks. All numbers are little-endian;
floats are IEEE 754.

===========  ====  ======================================================
offset       size  field
===========  ====  ======================================================
0            8     signature ``89 4C 52 4B 0D 0A 1A 0A`` (``\x89LRK\r\n\x1a\n``)
8            1     version, 1
9            ...   chunks, each: length of data (u32), type (4 ASCII
                   characters), data, CRC-32 of type and data (u32)
===========  ====  ======================================================

Chunks stand in this order, each once unless said otherwise::

    HEAD  [EXIF] [ICCP] [XMP_] [NODT] [AXIS]  SIGM  [SUMS]  TERM ...  DONE   float stores
    HEAD  [EXIF] [ICCP] [XMP_] [NODT] [AXIS]  [SUMS]  PACK  DONE             packed store

HEAD, the header:

======  ====  =======  ===================================================
offset  size  type     field
======  ====  =======  ===================================================
0       4     u32      width in pixels, 1 to 2^31 - 1
4       4     u32      height in pixels, 1 to 2^31 - 1
8       1     u8       mode: 0 `1`, 1 `L`, 2 `LA`, 3 `RGB`, 4 `RGBA`,
                       5 `CMYK`, 6 `I;16`, 7 `F`, which fix channels and
                       bits; 8 `array`, any channels of one type
9       1     u8       layout: 0 channels, 1 patches, 2 stack
10      1     u8       store: 0 float16, 1 float32, 2 float64, 3 packed
11      1     u8       flags, 0
...     3     u8, u16  mode `array` only: the type of a sample, 0 uint8,
                       1 uint16, 2 uint32, 3 int8, 4 int16, 5 int32,
                       6 float32, 7 float64; and the channels c, 1 to 4096
...     4     u32      layout stack only: the frames N, 1 to 2^31 - 1
...     3     3 x i8   layout patches with a float store and three colour
                       channels only: the colour rotation (see below)
...     16    2 x f64  packed store of modes `F` and `array` only, but for a
                       stack of integers: the lowest sample and the highest
                       (see below)
...     28 c           float stores, for each of the c matrices (of layout
                       stack there is one):
                       k (u32), ||A||_F (f64), sigma_(k+1) (f64),
                       tail sqrt(sum of sigma_i^2, i > k) (f64)
...     10 c           packed store, for each of the c matrices: k (u16),
                       ||A||_F, sigma_(k+1), tail and the Frobenius error of
                       the decoded factors, each of the four a u16 x that
                       stands for 2^(x/1024 - 24), rounded up; 0 stands for 0
======  ====  =======  ===================================================

Layout `channels`: each channel is a matrix, m = height and n = width, in the
order of the mode's channels. Layout `patches`: each (turned) channel is a
matrix of m = ceil(height/16) ceil(width/16) patches, row by row, by n = 256
coefficients, 16 v + u, of a lapped orthogonal transform. PACKED.md has its inverse: the
samples of a patch are the sum of the coefficients times D[v][y] D[u][x], then comes the
filter between patches (section 12); the rotation is that of the quaternion
(127, a, b, c) of the header's three numbers (section 5).
Layout `stack`: N registered pictures of one size and mode are ONE matrix, m = N and
n = height x width x channels, a frame in each row: its samples row by row of pixels,
the channels of a pixel together. As all TERM chunks have one size, a frame's or a
pixel's numbers are found by arithmetic.

A packed file of mode `F` or `array`, but of a stack of integers, holds levels, whole numbers
from 0 on, in place of samples. The two numbers of its header say which. Of integers, low is
at most 0, high at least 0, and high - low at most 65535: a level is a sample less low, in 8
bits where high - low < 256, else in 16. Of floats a level is (sample - low) / unit, rounded,
in 16 bits, with unit = high/65535 - low/65535, or 1 where that is 0; a decoder gives back
low + unit x level. Either way it clips to low and high. The norms in such a header are in
levels.

EXIF, ICCP, XMP_: metadata, as it stood in the source; never empty.

NODT: pixels without data, which were filled before the factorisation and get
their value back after decoding. The value, f64 (NaN of float samples only), which
is one of the samples' type; then a bit for each pixel, frame by frame and row by row,
the first one uppermost in its byte, the last byte filled with zeros, as a zlib stream that
ends with the chunk. All colour channels of such a pixel have the value.

AXIS, in layout stack only: what the frames are. A JSON object in UTF-8 of at most 1 MiB,
with any of `labels`, a list of a text for each frame, `values`, a list of a finite number
for each frame (a wavelength, a time, a depth), and `unit`, a text, that of the values. A
reader passes over other names.

SIGM: the singular values, f64, matrix after matrix, descending in each.

TERM: u (m floats), then v (n floats), in the store's type: one term
sigma_i u_i v_i^T. One chunk a term, in descending sigma over all matrices,
ties by matrix, then by index: so the order needs no field of its own, and
every prefix that ends after a term is the best image of that many terms.

From terms to samples: a matrix is the sum of its terms in their order, each entry
(sigma_i u) v, in f64, with every product and every sum rounded. In layouts `channels` and
`stack` its entries are the samples: of integers rounded to the nearest, ties to even, and
clipped to the range of their type (of mode `1` to 0 and 1); of floats clipped to the largest
finite one of their type and rounded to it. Samples of `I;16` are uint16, those of `F`
float32, and those of all other modes but `array` uint8. A decoder that adds in another order
may miss the last bit of a float, or a level where a sum lies half-way between two.

SUMS, of a packed file: the CRC-32 (u32) of each 4096 bytes of PACK's data, the last piece
being what is left: so a reader of a file that was cut or damaged knows which bytes are
whole before it decodes them. Written where PACK holds more than 8192 bytes; a file
without it is as good. A reader that does not know SUMS refuses such a file by this name.

SUMS, of a float file in layout stack only: for each TERM, in their order, the CRC-32 of u's
bytes, then of each 1024 bytes of v's, the last piece being what is left. So whoever reads a
pixel of a large file, and not all of each TERM, has a checksum behind the bytes that are
used. Written where a TERM holds more than 8192 bytes; a file without it is as good.

PACK: the quantised, entropy-coded factors, which PACKED.md specifies, with every table.

DONE: empty; nothing follows it.

So a float file holds k(m+n+1) floats for each matrix. Beyond them: 21 bytes
before the header's fields, 12 + 28 c (+ 3) of header, 24 around SIGM and DONE,
12 for each term, and what sigma takes beyond the store's type (6, 4 or 0 bytes
a term). SUMS is 12 bytes and a thousandth of the payload; of a stack, less than 0.5% of
its terms.

A decoder must reject: another signature or version; a chunk of unknown type,
out of order, missing, or of another length than its place demands; a CRC that
does not hold; unknown mode, layout, store or flags; k > min(m, n); values of
the header or sigmas that are NaN, negative or above 2^160 (no float32 image has
such norms, and no product of them overflows); sigmas that ascend; a value of u
or v that is NaN or beyond -2 to 2 (they are unit vectors); a lowest sample above the highest,
or a range that its samples, or 16 bits, do not have; bytes after DONE; SUMS
that is empty, or does not agree with PACK or the TERMs; AXIS that is not as said above;
numbers that cannot be true together.
Those are, of a float store, each by more than 10^-6 ||A||_F: a tail above ||A||_F,
sigma_(k+1) above the tail or above sigma_k, a tail where k = min(m, n), and
sum of sigma_i^2, i <= k, + tail^2 other than ||A||_F^2. Of a packed store, by more than 0.2%
and 10^-5 ||A||_F: a tail above ||A||_F, sigma_(k+1) above the tail, an error below the
tail (theorem 44); and a k other than the payload's: in layout `patches` 1 and the
components after the first, at most min(m, n), in layout `channels` the components
of the matrix, in layout `stack` the planes, of all tiles together, at most min(m, n).
It must check every size against the bytes at hand before it takes memory, and the
pixels against a limit of its own: a file of one term is m + n floats and may
claim mn pixels.

A file that ends too early is *truncated*. A decoder may, on request, decode what is whole
of a truncated or damaged file, and must say how much that is: the terms before the first
that is cut or damaged, the rest joining the tail; the pieces of a payload before the first
that SUMS disowns; a picture without the metadata whose chunk is damaged, or without SUMS
or DONE where all else is whole. Of a payload without SUMS that is cut it may decode what
is there, and must say that no checksum stands behind it; of one that is not cut and has
another CRC, nothing.

The smallest file that holds a term, 109 bytes: one grey pixel of level 200. With
k = 0 and no TERM, 85 bytes are a legal file too, of a picture of zeros::

    89 4C 52 4B 0D 0A 1A 0A 01                    signature, version 1
    28 00 00 00 48 45 41 44                       HEAD, 40 bytes
      01 00 00 00 01 00 00 00                     width 1, height 1
      01 00 00 00                                 mode L, channels, float16, no flags
      01 00 00 00 00 00 00 00 00 00 69 40         k = 1, ||A||_F = 200
      00 00 00 00 00 00 00 00                     sigma_2 = 0
      00 00 00 00 00 00 00 00 53 D7 53 05         tail = 0; CRC-32
    08 00 00 00 53 49 47 4D                       SIGM, 8 bytes
      00 00 00 00 00 00 69 40 0E 00 6D 0C         sigma_1 = 200; CRC-32
    04 00 00 00 54 45 52 4D                       TERM, 4 bytes
      00 3C 00 3C FC 2D 46 41                     u = 1, v = 1; CRC-32
    00 00 00 00 44 4F 4E 45 1F 0D B8 26           DONE; CRC-32
"""

from __future__ import annotations

from lowrank.format.fields import MAX_SIDE, SIGNATURE, VERSION
from lowrank.format.reading import parse, parse_header
from lowrank.format.writing import file_size, float_file_size, same, serialize

__all__ = [
    "MAX_SIDE",
    "SIGNATURE",
    "VERSION",
    "file_size",
    "float_file_size",
    "parse",
    "parse_header",
    "same",
    "serialize",
]
