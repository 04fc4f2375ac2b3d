"""Let the tests of this folder, and the benchmark, import `reference` and `stock` by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
