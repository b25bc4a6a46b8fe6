"""One module per table: contract, inputs, function, figures and checks side by side, under the table's name.

A module of this package that has a `TableSpec`, or a function that makes one from the `Declarations`, under its own
name is a table: `sessions.sessions`. There is no other list of them. What several tables share is in `transforms`.
"""
