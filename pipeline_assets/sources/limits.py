"""Lengths that records and what is kept of them may have, in bytes."""

LONGEST_RAW = 64 << 10
"""Bytes of a quarantined line that are kept; of a longer one its beginning."""

LONGEST_ID = 500
"""Bytes that an identifier may have; a longer one is a mistake. With what tables put before it (`user:`) it
stays within the 512 bytes that a text of a key may have, so that ids are the same wherever they are joined."""
