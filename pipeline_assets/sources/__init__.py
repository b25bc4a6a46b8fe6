"""What a user declares about a source, and the SQL that follows from it.

`declaration` is the model, `loading` reads YAML with exact error positions, `expressions` understands single DuckDB
expressions, `access_logs` the format strings of web servers, `checking` finds mistakes before any file is read,
`mapping` compiles a source to its staging query.
No Dagster here.
"""
