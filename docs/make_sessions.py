"""Run the terminal sessions of the documentation again and put in what they print.

`python docs/make_sessions.py [PAGE...]`, then read the difference: the tests hold the pages to it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SESSION = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main(pages: list[Path]) -> None:
    """Rewrite the sessions of some pages, each in a folder of its own."""
    environment = os.environ | {
        "COLUMNS": "80",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            for samples in ("sample_images", "sample_stacks"):
                shutil.copytree(ROOT / samples, Path(folder) / samples)
            shutil.copy(ROOT / "sample_images" / "parrots.png", Path(folder) / "photo.png")

            def run(session: re.Match[str], folder: str = folder) -> str:
                lines = ["```console"]
                for command in re.findall(r"^\$ (.*)$", session[1], re.MULTILINE):
                    out = subprocess.run(
                        command,
                        shell=True,
                        cwd=folder,
                        env=environment,
                        stdout=subprocess.PIPE,
                        text=True,
                        check=True,
                    )
                    lines += [f"$ {command}", *(line.rstrip() for line in out.stdout.splitlines())]
                return "\n".join([*lines, "```"])

            page.write_text(SESSION.sub(run, page.read_text()))


if __name__ == "__main__":
    given = [Path(name).resolve() for name in sys.argv[1:]]
    main(given or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
