"""Options, those that several commands share first, and how Typer takes them: as they are typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from lowrank import __version__


def completed(by: str) -> Callable[[str], list[str]]:
    """What a shell may complete a value to, by a name in `views.completion`: loaded when asked."""

    def complete(incomplete: str) -> list[str]:
        from lowrank.views import completion

        complete: Callable[[str], list[str]] = getattr(completion, by)
        return complete(incomplete)

    return complete


class _AsTyped:
    """Stands in for Typer's conversion: a text or a flag is what it should be already.

    From 0.29 on Typer converts with pydantic, and what was not given too; to load that takes a
    third of a short run. So every option below is a text or a flag. Older versions do not ask.
    """

    @staticmethod
    def coerce(value: Any, param: Any, ctx: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value


def _as_typed(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        parameter.get_runtime_param = lambda: _AsTyped
        if parameter.param_type_name == "argument":
            # Help would say beside it what it is to Python, <list[str]>: nobody types that.
            parameter.display_type_rich = _unsaid
    return parameters


def _unsaid(**_: Any) -> str:
    return ""


class Command(TyperCommand):
    """A command whose options are texts and flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Parameters that Typer does not convert."""
        return _as_typed(super().get_params(ctx))


class Group(TyperGroup):
    """The same for the options before a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Parameters that Typer does not convert."""
        return _as_typed(super().get_params(ctx))


def examples(*lines: str) -> str:
    """Lay out examples below a command's help; the mark keeps lines from being joined."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lowrank {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", "-V", callback=_version, is_eager=True, help="Print the version and exit."
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON on stdout, no tables; of several files a line each, then a summary.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing files.")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Output file; a folder for several inputs; - is stdout.",
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Descend into folders; -o keeps their tree.")
]
Descend = Annotated[bool, typer.Option("--recursive", "-r", help="Descend into folders.")]
Jobs = Annotated[str, typer.Option("--jobs", "-j", metavar="N", help="Files to work on at once.")]
Dask = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Work on a dask.distributed cluster: tcp://host:8786."),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Skip inputs whose output exists and is not older than they."
    ),
]
Preserve = Annotated[
    bool, typer.Option("--preserve", "-p", help="Outputs keep times and mode of their inputs.")
]
Stack = Annotated[
    bool, typer.Option("--stack", help="Take a folder, or several images, for one stack of frames.")
]
Frames = Annotated[
    str | None,
    typer.Option(
        metavar="A:B:S", help="Of a stack: frame 7 as one picture, or 0:100:2 as a stack."
    ),
]
Axis = Annotated[
    str | None,
    typer.Option(metavar="N", help="Of an array: which axis counts the frames; -1 is the last."),
]
MaxPixels = Annotated[
    str | None,
    typer.Option(
        "--max-pixels", metavar="N", help="Refuse larger images, e.g. 500M (default 179M)."
    ),
]
NoData = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE",
        help="Pixels of this value, or nan, have no data: filled before, restored after.",
    ),
]
MaxError = Annotated[
    str | None,
    typer.Option("--max-error", metavar="X", help="Largest error of any sample, in its units: 2."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format where -o names none: png, tif, ...",
        autocompletion=completed("formats"),
    ),
]
Partial = Annotated[
    bool,
    typer.Option("--partial", help="Decode what is whole of a file that is cut or damaged."),
]
Pixel = Annotated[
    str | None,
    typer.Option(metavar="Y,X", help="Of a stack: print a pixel's trace as CSV: frame, values."),
]
PngLevel = Annotated[
    str | None,
    typer.Option(
        "--png-level", metavar="0-9", help="Effort of PNG coding: 0 quickest, 9 smallest."
    ),
]
Html = Annotated[
    str | None,
    typer.Option(metavar="PAGE", help="Write a page with a rank slider; it needs no network."),
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Read each output back and decode it before it takes its name."),
]
Manifest = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="List what was made, with SHA-256 and measured errors, in a .csv or .json file; "
        "implies --check.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="BYTES",
        help="Memory for passes over a large source: 2G. Default: half of what there is.",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Keep passes over a large source in this file; if it exists, go on from it.",
    ),
]
Rank = Annotated[
    str | None,
    typer.Option(
        "--rank",
        "-k",
        metavar="N|auto",
        help="Terms kept of each channel; auto: those above the noise (Gavish-Donoho).",
    ),
]
Energy = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        help="Share of the energy, the sum of all samples squared, to keep: 0.99 or 99%.",
    ),
]
Quality = Annotated[
    str | None,
    typer.Option(
        "--quality", "-q", metavar="1-100", help="Quality of a packed file; 75 is the default."
    ),
]
Tune = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Tune a packed picture for psnr, or for the eye.",
        autocompletion=completed("tunes"),
    ),
]
Certify = Annotated[
    bool,
    typer.Option(
        "--certify", help="Measure what is written, prove its bounds, and print the report."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="noise",
        help="Noisy frames of a packed stack count less, each by its noise.",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="CODEC,...",
        help="Compare with jpeg, webp, avif, jxl, jpeg2000 or png, via Pillow; a stack frame by "
        "frame, and with klt-jpeg2000.",
        autocompletion=completed("codecs"),
    ),
]
Preview = Annotated[
    bool | None,
    typer.Option(
        "--preview/--no-preview",
        help="Show original and result as small pictures; the default where there are colours.",
        show_default=False,
    ),
]
ErrorShare = Annotated[
    str | None,
    typer.Option(metavar="E", help="Largest relative error in the Frobenius norm: 0.05 or 5%."),
]
PsnrWorst = Annotated[
    str | None,
    typer.Option("--psnr-worst", metavar="DB", help="The same, of the worst frame of a stack."),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="BYTES", help="Bytes of the file, at most: 20k is 20,000, 1.5M is 1,500,000."
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What a matrix is: channels (each as it is), patches (one a row), or stack "
        "(a frame a row).",
        autocompletion=completed("layouts"),
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How factors are kept: packed, the smallest; float16, float32, float64; or auto, the "
        "narrowest float whose rounding adds less than 0.1% to the error.",
        autocompletion=completed("stores"),
    ),
]
FloatStore = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How factors are kept: float16, float32, float64, or auto.",
        autocompletion=completed("float_stores"),
    ),
]
Decode = Annotated[
    bool, typer.Option("--decode", help="Decode each file, too; no picture is written.")
]
Originals = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="TREE",
        help="Measure each file against its original, at its place in a folder of images; "
        "one that is farther from it than it states is a fault.",
    ),
]
Listed = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        metavar="LIST",
        help="Compare with the list of compress --manifest: missing, changed, exchanged and "
        "unlisted files are faults, and so are numbers that are not as listed (with --against: "
        "originals, too). Implies -r.",
        autocompletion=completed("manifests"),
    ),
]
