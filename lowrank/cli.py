"""The command line: options to requests, results to tables, errors to one line.

Nothing heavier than Typer is imported before a command runs, so that `--help` and
usage errors answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from lowrank import console, verifying
from lowrank.errors import LowrankError
from lowrank.options import (
    Against,
    Axis,
    Certify,
    Check,
    Command,
    Dask,
    Energy,
    ErrorShare,
    FloatStore,
    Force,
    Format,
    Frames,
    Group,
    Html,
    Jobs,
    Json,
    Layout,
    Manifest,
    MaxError,
    MaxPixels,
    Memory,
    NoData,
    Output,
    Partial,
    Pixel,
    PngLevel,
    Preserve,
    Preview,
    PsnrWorst,
    Quality,
    Quiet,
    Recursive,
    Size,
    SkipExisting,
    Stack,
    Store,
    Version,
    examples,
)
from lowrank.views import completion

app = typer.Typer(
    cls=Group,
    help="Low-rank image compression, with proved error bounds.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "lowrank compress photo.png -k 20",
        "lowrank decompress photo.lrk",
        "lowrank report photo.png photo.lrk",
    ),
)
def _lowrank(context: typer.Context, version: Version = False) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


@app.command(
    cls=Command,
    epilog=examples(
        "lowrank compress photo.png -k 20",
        "lowrank compress photo.png --error 5% -o close.lrk",
        "lowrank compress photos/ -r -o small/ -q 60 -j 2",
        "lowrank compress frames/ --stack -k 20 -o movie.lrk",
        "lowrank compress close.lrk -k 5 -o rough.lrk",
    ),
)
def compress(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Images, folders, or - for stdin.")
    ],
    output: Output = None,
    rank: Annotated[
        str | None,
        typer.Option(
            "--rank",
            "-k",
            metavar="N|auto",
            help="Terms of each channel; auto: the Gavish-Donoho threshold.",
        ),
    ] = None,
    energy: Energy = None,
    error: ErrorShare = None,
    max_error: MaxError = None,
    psnr: Annotated[str | None, typer.Option(metavar="DB", help="PSNR in dB.")] = None,
    psnr_worst: PsnrWorst = None,
    size: Size = None,
    quality: Quality = None,
    layout: Layout = None,
    store: Store = None,
    certify: Certify = False,
    stack: Stack = False,
    frames: Frames = None,
    axis: Axis = None,
    check: Check = False,
    manifest: Manifest = None,
    recursive: Recursive = False,
    jobs: Jobs = "1",
    dask: Dask = None,
    memory: Memory = None,
    skip_existing: SkipExisting = False,
    preserve: Preserve = False,
    nodata: NoData = None,
    max_pixels: MaxPixels = None,
    json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    version: Version = False,
) -> None:
    """Compress images to .lrk files; shorten .lrk files.

    Give one target at most: -k, --energy, --error, --max-error, --psnr, --psnr-worst, --size, -q.
    """
    from lowrank import names, targets

    wanted = targets.read(
        {
            "rank": rank, "energy": energy, "error": error, "max_error": max_error,
            "psnr": psnr, "psnr_worst": psnr_worst, "size": size, "quality": quality,
        },
        sys.argv,
    )  # fmt: skip
    targets.choice(layout, "--layout", names.LAYOUTS)
    targets.choice(store, "--store", names.CHOICES)
    limit, empty = targets.max_pixels(max_pixels), targets.nodata(nodata)
    processes = targets.whole(jobs, "-j", 1)
    which, along = targets.frames(frames), targets.axis(axis)
    from lowrank.io.formats import SUFFIXES
    from lowrank.io.taking import Taking
    from lowrank.runs import plan, work

    settings = work.Compressing(
        target=wanted,
        layout=layout,
        store=store,
        measure=certify or json,
        nodata=empty,
        taking=Taking(stack, along, which),
        max_pixels=limit,
        force=force,
        skip_existing=skip_existing,
        preserve=preserve,
        check=check,
        manifest=manifest,
        certify=certify,
        memory=targets.memory(memory),
    )
    planned = (
        plan.stacked(inputs, output, recursive=recursive, suffixes=SUFFIXES) if stack else None
    )
    planned = planned or plan.of(
        inputs, output, recursive=recursive, suffixes=SUFFIXES, made=(".lrk",)
    )
    code = console.run(
        work.compressor(planned.jobs, settings),
        planned,
        settings,
        processes=processes,
        dask=dask,
        json=json,
        quiet=quiet,
        tables=certify,
        manifest=manifest,
    )
    raise typer.Exit(code)


@app.command(
    cls=Command,
    epilog=examples(
        "lowrank decompress photo.lrk",
        "lowrank decompress photo.lrk -k 5 -o rough.png",
        "lowrank decompress - --format png < photo.lrk > photo.png",
        "lowrank decompress movie.lrk --frames 7 -o seven.png",
        "lowrank decompress movie.lrk --pixel 10,20",
    ),
)
def decompress(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help=".lrk files, folders, or - for stdin.",
            autocompletion=completion.ending(".lrk"),
        ),
    ],
    output: Output = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", "-k", metavar="N", help="Decode this many terms a channel only."),
    ] = None,
    format: Format = None,
    partial: Partial = False,
    frames: Frames = None,
    pixel: Pixel = None,
    png_level: PngLevel = None,
    recursive: Recursive = False,
    jobs: Jobs = "1",
    dask: Dask = None,
    skip_existing: SkipExisting = False,
    preserve: Preserve = False,
    max_pixels: MaxPixels = None,
    json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    version: Version = False,
) -> None:
    """Turn .lrk files back into images."""
    from lowrank import targets

    kept = None if rank is None else targets.one_rank(rank, sys.argv)
    level = None if png_level is None else targets.whole(png_level, "--png-level", 0, 9)
    processes = targets.whole(jobs, "-j", 1)
    limit = targets.max_pixels(max_pixels)
    which, point = targets.frames(frames), targets.pixel(pixel)
    from lowrank.io.formats import WRITTEN
    from lowrank.io.framewriter import WRITTEN as STACKS
    from lowrank.runs import frames as stacks
    from lowrank.runs import plan, work

    settings = work.Decompressing(
        rank=kept,
        partial=partial,
        format=format,
        png_level=level,
        frames=which,
        pixel=point,
        max_pixels=limit,
        force=force,
        skip_existing=skip_existing,
        preserve=preserve,
    )
    planned = plan.of(
        inputs,
        output,
        recursive=recursive,
        suffixes=frozenset({".lrk"}),
        made=tuple(dict.fromkeys((*WRITTEN, *STACKS))),
    )
    code = console.run(
        stacks.decompress,
        planned,
        settings,
        processes=processes,
        dask=dask,
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(code)


@app.command(
    cls=Command,
    epilog=examples(
        "lowrank report photo.png",
        "lowrank report photo.png photo.lrk",
        "lowrank report photo.png -k 5,20,50 --json",
        "lowrank report photo.png --html photo.html",
        "lowrank report photo.png photo.lrk --against jpeg,webp,avif",
        "lowrank report frames/ movie.lrk --stack",
    ),
)
def report(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="An image, or a .lrk file.")],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE.lrk",
            help="The .lrk file made from it.",
            autocompletion=completion.ending(".lrk"),
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", "-k", metavar="N,...", help="Ranks to measure: 20, or 5,20,50."),
    ] = None,
    store: FloatStore = None,
    against: Against = None,
    html: Html = None,
    preview: Preview = None,
    stack: Stack = False,
    frames: Frames = None,
    axis: Axis = None,
    nodata: NoData = None,
    max_pixels: MaxPixels = None,
    json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    version: Version = False,
) -> None:
    """Report errors against the bounds of Eckart and Young, and storage.

    Of an image: a ladder of ranks to choose from. Of an image and its .lrk file, or at
    given ranks: measured errors and proof. Of a .lrk file: what it states of itself.
    """
    from lowrank import names, targets

    ranks = targets.ranks(rank, sys.argv)
    targets.choice(store, "--store", names.FLOAT_CHOICES)
    limit, empty = targets.max_pixels(max_pixels), targets.nodata(nodata)
    rivals = targets.several_of(against, "--against")
    which, along = targets.frames(frames), targets.axis(axis)
    from lowrank.io.taking import Taking
    from lowrank.report import ask

    sources = [name for name in (input, file) if name]
    if html is not None:
        console.check_page(html, sources, force=force)
    with console.waiting(quiet=quiet):
        result = ask.report(
            input, file, ranks=ranks, store=store, max_pixels=limit, nodata=empty,
            against=rivals, taking=Taking(stack, along, which),
        )  # fmt: skip
    console.notes(input, result.notes, quiet=quiet)
    if html is not None:
        console.write_page(html, result, sources, force=force, quiet=quiet or json)
    if json:
        from lowrank.views import as_json

        console.say_json(as_json.result_object(result))
    elif html is None and not quiet:
        from lowrank.views import tables

        small = []
        if preview or (preview is None and console.on_terminal(sys.stdout)):
            from lowrank.views import preview as pictures

            small = pictures.of(result, wish=preview)
        tables.show(*small, tables.result(result))


app.command(cls=Command, epilog=verifying.EXAMPLES)(verifying.verify)


def run() -> int:
    """Run the command line on `sys.argv` and return its exit code."""
    console.occupy_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without σ still gets its table
    try:
        code = app(standalone_mode=False, prog_name="lowrank")
    except LowrankError as error:
        console.error(error)
        return error.exit_code
    except MemoryError:
        console.error("not enough memory; give a smaller image")
        return 1
    except OSError as error:  # not a closed pipe: at that, Typer leaves quietly with 1
        console.error(f"{error.strerror or error}, writing the output")
        return 1
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is not None:
            usage = str(message()).rstrip(".")
            console.error(f"{usage}; lowrank --help lists commands and options")
            return 2
        if os.environ.get("LOWRANK_DEBUG"):
            raise
        console.error(
            f"a defect of lowrank ({type(error).__name__}: {error}); "
            "please report it with the command; LOWRANK_DEBUG=1 shows where"
        )
        return 1
    return code if isinstance(code, int) else 0
