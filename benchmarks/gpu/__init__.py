"""One command that measures on a GPU all that is worth knowing there: `python -m benchmarks.gpu --out FOLDER`."""
