"""Asset checks. Blocking where wrong data would flow on; every result carries its numbers as metadata."""
