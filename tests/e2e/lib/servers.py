"""Real servers of the tests: Azurite and PostgreSQL 15, each on a free port of the loopback, in a folder of its own, stopped at the end."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import TOP, Failure

ACCOUNT = "devstoreaccount1"
POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")


class Azurite:
    """The Blob service; what it keeps lives in its memory."""

    def __init__(self):
        program = TOP / "tools/setup/azurite/node_modules/azurite/dist/src/blob/main.js"
        if not program.exists():
            raise Failure("Azurite is not installed; next: tools/setup.sh test")
        node = TOP / ".deps/node/bin/node"
        self.folder = tempfile.mkdtemp(prefix="px-azurite-")
        self.process = subprocess.Popen([node, program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry",
                                         "--silent"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if found := re.search(r"successfully listens on http://127\.0\.0\.1:(\d+)", line):
                self.endpoint = f"http://127.0.0.1:{found[1]}/{ACCOUNT}"
                return
        raise Failure("Azurite ended at once")

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres:
    """A server of version 15 with the superuser px_admin and a database px; passwords are asked for."""

    PASSWORD = "s3cret/of:the@test"

    def __init__(self):
        if not (POSTGRES / "postgres").exists():
            raise Failure("PostgreSQL 15 is not installed; next: tools/setup.sh test")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="px-postgres-"))
        # The server refuses to be root.
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        secret = self.folder / "secret"
        secret.write_text(self.PASSWORD, encoding="utf-8")
        if self.user:
            os.chown(secret, self.user.pw_uid, self.user.pw_gid)
        self.call([POSTGRES / "initdb", "-D", self.folder / "data", "-U", "px_admin", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8",
                   "--locale=C.UTF-8", "--no-sync"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None
        self.start()
        self.sql("create database px", database="postgres")

    def privileges(self):
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def call(self, command):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self.privileges())
        if done.returncode:
            raise Failure(f"{command[0]}: {done.stderr}")

    def start(self):
        self.process = subprocess.Popen([POSTGRES / "postgres", "-D", self.folder / "data", "-c", "listen_addresses=127.0.0.1", "-p", str(self.port),
                                         "-k", self.folder, "-c", "fsync=off"], cwd=self.folder, stdout=subprocess.DEVNULL,
                                        stderr=open(self.folder / "log", "ab"), **self.privileges())
        for _ in range(200):
            if subprocess.run([POSTGRES / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise Failure(f"PostgreSQL does not start: {(self.folder / 'log').read_text(errors='replace')[-500:]}")

    def sql(self, text, database="px"):
        done = subprocess.run([POSTGRES / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "px_admin", "-d", database, "-v", "ON_ERROR_STOP=1", "-At",
                               "-c", text], env={**os.environ, "PGPASSWORD": self.PASSWORD}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"psql: {done.stderr}")
        return done.stdout.splitlines()

    def variables(self):
        """As .env names them; catalog.url is 'postgresql:'."""
        return {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(self.port), "POSTGRES_USER": "px_admin", "POSTGRES_PASSWORD": self.PASSWORD,
                "POSTGRES_DB": "px"}

    def end(self):
        """Stops the server as a machine that goes down would."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def stop(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)
