"""The checker of include ranks finds every kind of breach, and nothing in a tree without one.

    python3 tests/unit/ranks_test.py
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
CHECKER = TOP / "tools" / "check_includes.py"

# file, line, what the checker must say about it (None: nothing)
CASES = [
    ("store/object_store.h", '#include "base/result.h"', None),
    ("chunk/chunk.h", '#include "source/document.h"', None),
    ("app/wire.cpp", '#include "store/local/local_object_store.h"', None),
    ("capi/duckdb/handle.cpp", "#include <duckdb.h>", None),
    ("lake/log_test.cpp", '#include "testing/temp_dir.h"', None),
    ("lake/log.cpp", '#include "store/object_store.h"', None),
    ("pipeline/run.cpp", '#include "store/local/local_object_store.h"', None),
    ("base/result.cpp", '#include "store/object_store.h"', "base (rank 0) may not include store (rank 2)"),
    ("source/open.cpp", '#include "chunk/chunk.h"', "source (rank 2) may not include chunk (rank 2)"),
    ("engine/engine.cpp", '#include "lake/delta_table.h"', "engine (rank 2) may not include lake (rank 3)"),
    ("answer/ask.cpp", '#include "pipeline/run.h"', "answer may not include pipeline"),
    ("schedule/loop.cpp", '#include "lake/delta_table.h"', "schedule may not include lake"),
    ("lake/log.cpp", '  #  include "store/local/local_object_store.h"', "only app names the adapter store/local"),
    ("engine/local/session.cpp", "#include <duckdb.h>", "<duckdb.h> belongs to capi/duckdb"),
    ("gateway/routes.cpp", "#include <boost/asio/ip/tcp.hpp>", "<boost/asio/ip/tcp.hpp> belongs to http"),
    ("index/scan.cpp", '#include "testing/temp_dir.h"', "only tests include testing/"),
    ("index/scan.cpp", '#include "utils/strings.h"', "'utils' is no room"),
    ("helpers/strings.h", "", "room 'helpers' has no rank"),
]


def said_of(file, line):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "tools").mkdir()
        shutil.copy(TOP / "tools" / "include_ranks.txt", root / "tools")
        path = root / "src" / file
        path.parent.mkdir(parents=True)
        path.write_text("#pragma once\n" + line + "\n", encoding="utf-8")
        done = subprocess.run([sys.executable, CHECKER, "--root", root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


def main():
    failed = 0
    for file, line, expected in CASES:
        code, output = said_of(file, line)
        good = (code, output) == (0, "") if expected is None else code == 1 and expected in output
        if not good:
            failed += 1
            print(f"src/{file}: {line}\n  expected {expected or 'no problem'}\n  got exit {code}: {output.strip()}")
    print(f"{len(CASES)} cases, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
