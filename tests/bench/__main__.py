"""`python -m tests.bench [name ...]`: every benchmark in this folder, or the ones named, one after the other."""

import argparse
import importlib
import pkgutil
import sys

import tests.bench


def main(names: list[str]) -> int:
    """Run the named benchmarks (default: all); an unknown name lists those that exist."""
    known = sorted(m.name for m in pkgutil.iter_modules(tests.bench.__path__) if m.name != "__main__")
    if unknown := sorted(set(names) - set(known)):
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"tests.bench.{name}").main()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="a module of this folder")
    sys.exit(main(parser.parse_args().names))
