"""What bounds the rules of sessions: what a declaration may say, and what makes a session depend on few days only."""

from datetime import timedelta

DEFAULT_TIMEOUT = timedelta(minutes=30)
LONGEST_TIMEOUT = timedelta(hours=12)
"""A timeout must be well below the shortest day, or a day without events would not end a session."""

LONGEST_SESSION_DAYS = 31
"""Days after its first event in which a session with a supplied id may be declared to go on."""
