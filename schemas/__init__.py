"""Contracts every room speaks: recipes, table schemas, ids and errors. No behaviour, no imports of other rooms."""
