"""Names of text encodings, as Python's codecs know them."""

import codecs

UTF_8 = "utf-8"
COMMON = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "iso-8859-1", "iso-8859-2", "iso-8859-15",
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "cp437", "cp850", "cp1252", "mac-roman", "koi8-r", "shift_jis", "euc-jp", "euc-kr", "gb18030", "gbk", "big5",
    "ascii",
)  # fmt: skip
"""What messages suggest; many more are known."""

# Encodings of other things than text files.
_OTHERS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})


def canonical(encoding: str) -> str:
    """The name of a known encoding in one spelling."""
    name = codecs.lookup(encoding).name
    return UTF_8 if name == "utf-8-sig" else name


def is_known(encoding: str) -> bool:
    """Whether text files can be read in an encoding."""
    try:
        name = codecs.lookup(encoding).name
        # The standard library has no public word for what is an encoding of text: rot13 and zip are codecs, too.
        b"a".decode(name, "replace")
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        return False
    return name.replace("-", "_") not in _OTHERS
