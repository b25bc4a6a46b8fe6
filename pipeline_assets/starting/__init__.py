"""How a project of one's own begins: a source guessed from a sample, tried, and written with the files around it."""
