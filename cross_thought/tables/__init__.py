"""From metrics and predictions to what is read: tables, figures, the report, submissions, provenance.

Importing it brings pandas, and what loads a table into a frame: `read_table("results/tables/tasks.csv")`.
"""

from cross_thought.tables.layout import read_table

__all__ = ["read_table"]
