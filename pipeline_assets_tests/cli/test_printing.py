"""What people are shown of names and values that others chose."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline_assets.cli.printing import escaped


def shown(text: str) -> str:
    """What a terminal gets."""
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system=None, highlight=False).print(
        f"[red]{escaped(text)}[/red]", soft_wrap=True
    )
    return out.getvalue().removesuffix("\n")


@given(st.text(st.sampled_from("a[]/\\\x1b\x07\x9b\x7f\r\u202e\u2028é💥\u200d\n")))
def test_no_name_commands_the_terminal(text: str) -> None:
    assert not set(shown(text)) & set("\x1b\x07\x9b\x7f\r\u202e\u2028")


@given(st.text("a[]/ é💥\u200d"))
def test_other_names_are_shown_as_they_are(text: str) -> None:
    assert shown(text) == text
