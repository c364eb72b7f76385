"""What the command line says to type next."""

import io
import shlex

from rich.console import Console

from harp.pasting import pasted


def test_a_printed_command_has_the_path_as_one_word():
    path, text = "/data/my runs/[x]/stage one" + "/deep" * 20, io.StringIO()
    console = Console(file=text, width=80)
    console.print(f"Next: harp evaluate representation --stage1 {pasted(path)}", soft_wrap=True)
    assert shlex.split(text.getvalue())[-1] == path
    assert len(text.getvalue().splitlines()) == 1
