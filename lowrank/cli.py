"""The command line: options to requests, results to tables, errors to one line.

Nothing heavier than Typer is imported before a command runs, so that `--help` and
usage errors answer at once.
"""

# Annotations are values here, not texts: Typer would compile each of them again, at every start.

import os
import sys
from typing import Annotated

import typer

from lowrank import console, options
from lowrank.errors import LowrankError

app = typer.Typer(
    cls=options.Group,
    help="Low-rank image compression, with proved error bounds.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    invoke_without_command=True,
    epilog=options.examples(
        "lowrank compress photo.png -k 20",
        "lowrank decompress photo.lrk",
        "lowrank report photo.png photo.lrk",
    ),
)
def _lowrank(context: typer.Context, version: options.Version = False) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


@app.command(
    cls=options.Command,
    epilog=options.examples(
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
    output: options.Output = None,
    rank: options.Rank = None,
    energy: options.Energy = None,
    error: options.ErrorShare = None,
    max_error: options.MaxError = None,
    psnr: Annotated[
        str | None,
        typer.Option(metavar="DB", help="Least PSNR, peak signal-to-noise ratio, in dB: 38."),
    ] = None,
    psnr_worst: options.PsnrWorst = None,
    size: options.Size = None,
    quality: options.Quality = None,
    tune: options.Tune = None,
    layout: options.Layout = None,
    store: options.Store = None,
    certify: options.Certify = False,
    stack: options.Stack = False,
    frames: options.Frames = None,
    axis: options.Axis = None,
    weights: options.Weights = None,
    check: options.Check = False,
    manifest: options.Manifest = None,
    recursive: options.Recursive = False,
    jobs: options.Jobs = "1",
    dask: options.Dask = None,
    memory: options.Memory = None,
    resume: options.Resume = None,
    skip_existing: options.SkipExisting = False,
    preserve: options.Preserve = False,
    nodata: options.NoData = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    version: options.Version = False,
) -> None:
    """Compress images to .lrk files; shorten .lrk files.

    One target at most, else -q 75: -k, --energy, --error, --max-error, --psnr, --psnr-worst,
    --size, -q.
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
    from lowrank.io.formats import SUFFIXES, ZARR
    from lowrank.io.taking import Taking
    from lowrank.runs import plan, tasks, work

    settings = tasks.Compressing(
        target=targets.weighted(targets.tuned(wanted, tune, "--tune"), weights, "--weights"),
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
        memory=targets.memory(memory, "--memory"),
        resume=resume,
        spread=dask,
    )
    planned = (
        plan.stacked(inputs, output, recursive=recursive, suffixes=SUFFIXES) if stack else None
    )
    planned = planned or plan.of(
        inputs, output, recursive=recursive, suffixes=SUFFIXES | {ZARR}, made=(".lrk",)
    )
    code = console.run(
        work.compressor(planned.jobs, settings, alone=processes == 1 and not dask),
        planned,
        settings,
        processes=processes,
        dask=None if work.spreads(planned.jobs, settings) else dask,
        json=json,
        quiet=quiet,
        tables=certify,
        manifest=manifest,
    )
    raise typer.Exit(code)


@app.command(
    cls=options.Command,
    epilog=options.examples(
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
            autocompletion=options.completed("files"),
        ),
    ],
    output: options.Output = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", "-k", metavar="N", help="Decode this many terms a channel only."),
    ] = None,
    format: options.Format = None,
    partial: options.Partial = False,
    frames: options.Frames = None,
    pixel: options.Pixel = None,
    png_level: options.PngLevel = None,
    recursive: options.Recursive = False,
    jobs: options.Jobs = "1",
    dask: options.Dask = None,
    skip_existing: options.SkipExisting = False,
    preserve: options.Preserve = False,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    version: options.Version = False,
) -> None:
    """Turn .lrk files back into images."""
    from lowrank import targets

    kept = None if rank is None else targets.one_rank(rank, sys.argv)
    level = 1 if png_level is None else targets.whole(png_level, "--png-level", 0, 9)
    processes = targets.whole(jobs, "-j", 1)
    limit = targets.max_pixels(max_pixels)
    which, point = targets.frames(frames), targets.pixel(pixel)
    from lowrank.io.formats import WRITTEN
    from lowrank.runs import frames as stacks
    from lowrank.runs import plan, tasks

    settings = tasks.Decompressing(
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
        made=WRITTEN,
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
    cls=options.Command,
    epilog=options.examples(
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
            autocompletion=options.completed("files"),
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", "-k", metavar="N,...", help="Ranks to measure: 20, or 5,20,50."),
    ] = None,
    store: options.FloatStore = None,
    against: options.Against = None,
    html: options.Html = None,
    preview: options.Preview = None,
    stack: options.Stack = False,
    frames: options.Frames = None,
    axis: options.Axis = None,
    nodata: options.NoData = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    version: options.Version = False,
) -> None:
    """Measure errors against the bounds of Eckart and Young.

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
    shown = not (json or html or quiet)
    drawn = shown and console.show_report(result, preview=preview)
    if json:
        from lowrank.views import as_json

        console.say_json(as_json.result_object(result))
    if preview and not drawn:
        text = "--preview draws above tables, on a terminal with colours: left out"
        console.note(text, quiet=quiet)


@app.command(
    cls=options.Command,
    epilog=options.examples(
        "lowrank verify photo.lrk",
        "lowrank verify small/ -r --decode -j 2",
        "lowrank verify small/ -r --against photos/",
        "lowrank verify cube.lrk --against cube.npy --axis -1",
        "lowrank verify small/ --manifest small.csv",
    ),
)
def verify(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help=".lrk files, folders, or - for stdin.",
            autocompletion=options.completed("files"),
        ),
    ] = None,
    decode: options.Decode = False,
    against: options.Originals = None,
    frames: options.Frames = None,
    axis: options.Axis = None,
    manifest: options.Listed = None,
    recursive: options.Descend = False,
    jobs: options.Jobs = "1",
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    version: options.Version = False,
) -> None:
    """Check that .lrk files are whole.

    Every checksum, and every number that follows from another. A line for each bad file,
    on standard error, and a sum. The exit code is 1 if any is bad.
    """
    from lowrank import verifying

    code = verifying.verify(
        inputs or [],
        manifest,
        decode=decode,
        against=against,
        frames=frames,
        axis=axis,
        recursive=recursive,
        jobs=jobs,
        max_pixels=max_pixels,
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(code)


def run() -> int:
    """Run the command line on `sys.argv` and return its exit code."""
    streams = console.begin()
    try:
        code = app(standalone_mode=False, prog_name="lowrank")
    except LowrankError as error:
        console.failed(error, sys.argv)
        return error.exit_code
    except MemoryError:
        console.failed("not enough memory; give a smaller image", sys.argv)
        return 1
    except SystemExit:  # of Typer, quietly with 1: the reader of a pipe has gone
        console.let_go(*streams)
        raise
    except OSError as error:
        console.let_go(*streams)
        console.error(f"{error.strerror or error}, writing the output")
        return 1
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is not None:
            console.mistyped(error, str(message()), sys.argv)
            return 2
        if os.environ.get("LOWRANK_DEBUG"):
            raise
        console.failed(
            f"a defect of lowrank ({type(error).__name__}: {error}); "
            "please report it with the command; LOWRANK_DEBUG=1 shows where",
            sys.argv,
        )
        return 1
    return code if isinstance(code, int) else 0
