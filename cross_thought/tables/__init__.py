"""From metrics and predictions to what is read: tables, figures, the report, submissions, provenance."""
