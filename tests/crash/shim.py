"""disk.c, compiled and put under px."""

import atexit
import pathlib
import shutil
import subprocess
import tempfile

from scenario import Failure

folder = pathlib.Path(tempfile.mkdtemp(prefix="px-disk-"))
atexit.register(shutil.rmtree, folder, ignore_errors=True)
library = folder / "disk.so"
done = subprocess.run(["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).parent / "disk.c",
                       "-ldl", "-lpthread"], capture_output=True, text=True, check=False)
if done.returncode:
    raise Failure(f"disk.c does not compile; next: tools/setup.sh build\n{done.stderr}")


def recorded(home, log, fail=None):
    """The environment of a px whose changes below the home are written to `log`; fail: "EIO:N" or "ENOSPC:N"."""
    return {"LD_PRELOAD": str(library), "PX_DISK_ROOT": str(home.folder), "PX_DISK_LOG": str(log), **({"PX_DISK_FAIL": fail} if fail else {})}


def log_of(home):
    path = folder / f"{home.folder.name}.log"
    path.unlink(missing_ok=True)
    return path
