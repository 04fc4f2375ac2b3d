"""From predictions and training histories to metrics, tables, figures and their provenance."""
