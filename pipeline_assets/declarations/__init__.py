"""What the declarations of sources and of analyses have in common: YAML files, and how mistakes in them are told."""
