"""Numbers in sentences for people."""


def counted(number: int, noun: str) -> str:
    """A number and what is counted, in the singular where it is one: `1 day`, `1,200 days`.

    Args:
        number: how many there are.
        noun: what is counted, in the singular; its plural ends in s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
