"""The former name of `python -m cross_thought.tables.verify`, which goes on working."""

import runpy

if __name__ == "__main__":
    runpy.run_module("cross_thought.tables.verify", run_name="__main__")
