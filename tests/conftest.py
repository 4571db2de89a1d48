import sys
from pathlib import Path

from hypothesis import settings

# The same examples in every run; `make slow` draws new ones, and what it finds becomes an example in its test.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")

# Modules that several test folders share lie beside this file.
sys.path.insert(0, str(Path(__file__).parent))
