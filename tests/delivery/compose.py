"""deploy/docker-compose.yml: well formed, what the issue of ports and profiles promises, and only settings that px knows."""
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "e2e"))
from lib.harness import check, main  # noqa: E402

DEPLOY = TOP / "deploy"
FULL = {"px", "px-api", "px-program", "postgres", "qdrant", "azurite", "airflow", "spark-master", "spark-worker", "prometheus"}
KEYS = {"image", "network_mode", "read_only", "user", "cap_drop", "security_opt", "tmpfs", "restart", "stop_grace_period", "logging",
        "profiles", "command", "environment", "volumes", "depends_on", "healthcheck", "ports", "hostname"}
CONDITIONS = {"service_healthy", "service_started", "service_completed_successfully"}


def settled(value, environment):
    """A value with ${NAME:-default} replaced, as compose does it; only that form is used."""
    if isinstance(value, dict):
        return {key: settled(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [settled(item, environment) for item in value]
    if not isinstance(value, str):
        return value
    text = re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", lambda m: environment.get(m[1]) or m[2], value)
    check("$" not in text, f"a variable without a default: {value}")
    return text


def services(environment=None):
    document = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    check(document["name"] == "pipeline-x", "the project has another name")
    return settled(document["services"], environment or {}), document


def profiles_hold_what_they_promise(_):
    found, document = services()
    by_profile = {profile: {name for name, s in found.items() if profile in s["profiles"]} for profile in ("minimal", "full")}
    check(by_profile["minimal"] == {"px-minimal"}, f"minimal: {by_profile['minimal']}")
    check(by_profile["full"] == FULL, f"full: {sorted(by_profile['full'] ^ FULL)}")
    for name, service in found.items():
        check(set(service) <= KEYS, f"{name} has keys compose may not know: {set(service) - KEYS}")
        check("healthcheck" in service, f"{name} has no health check")
        for other, how in service.get("depends_on", {}).items():
            check(how["condition"] in CONDITIONS, f"{name} waits for {how}")
            check(set(service["profiles"]) <= set(found[other]["profiles"]), f"{name} waits for {other} of another profile")
        check(not service["image"].endswith(":latest") or service["image"].startswith("localhost/"), f"{name} has no fixed version")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            check(source.startswith(".") or source in document["volumes"], f"{name} mounts the undeclared volume {source}")
            check(not source.endswith(".yml") or (DEPLOY / source).exists(), f"{name} mounts {source}, which is not there")


def ports_are_those_people_know_and_on_loopback(_):
    found, _ = services()
    known = {"postgres": 5432, "qdrant": 6333, "spark-master": 8081, "azurite": 10000}
    for name, service in found.items():
        for port in service.get("ports", []):
            address, host, _ = port.split(":")
            check(address == "127.0.0.1", f"{name} publishes {port} beyond loopback")
        if name in known:
            check(any(port.split(":")[1] == str(known[name]) for port in service["ports"]), f"{name}: {service['ports']}")
        if service.get("network_mode") == "host":
            check("ports" not in service, f"{name} is in the host's network and publishes ports")
    check(found["px"]["command"] == ["up", "--port", "8501"] and found["px-api"]["command"] == ["serve", "--port", "8000"], "ports of px")
    check(found["airflow"]["environment"]["AIRFLOW__API__PORT"] == "8080", "port of Airflow")
    wide, _ = services({"BIND": "0.0.0.0"})
    check(all(p.startswith("127.0.0.1:") for p in wide["azurite"]["ports"]), "Azurite, whose key is published, leaves loopback")
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
    check(scraped == ["127.0.0.1:8501"], f"Prometheus scrapes {scraped}")


def px_knows_every_setting_it_is_given(px):
    """px itself is asked: each PX_ setting must show in `px config`, and the stores' names must be read by it."""
    found, _ = services({"POSTGRES_PASSWORD": "secret-of-the-test", "QDRANT_API_KEY": "key-of-the-test"})
    given = found["px"]["environment"]
    check(found["px-api"]["environment"] == given, "px and px-api have different settings")
    with tempfile.TemporaryDirectory(prefix="px-delivery-") as folder:
        subprocess.run([px.resolve(), "init", "."], cwd=folder, check=True, capture_output=True)
        environment = {"PATH": "/usr/bin:/bin", **given}
        done = subprocess.run([px.resolve(), "config", "show"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"px config show: {done.stderr}")
    check("secret-of-the-test" not in done.stdout and "key-of-the-test" not in done.stdout, "px config shows a secret")
    names = {"PX_LANDING_URL": "landing.url", "PX_LAKE_URL": "lake.url", "PX_CATALOG_URL": "catalog.url", "PX_VECTORS_URL": "vectors.url"}
    for name, key in names.items():
        line = next((line for line in done.stdout.splitlines() if line.startswith(key + ":")), "")
        check(not line.endswith(("./landing", "./lake", "catalog.db", "./index")) and line, f"{name} has no effect: {line}")
    told = "".join((TOP / file).read_text(encoding="utf-8") for file in (".env.example", "docs/formats/addresses.md", "docs/formats/pipeline.md"))
    for name in given:
        check(name in told, f"{name} is told nowhere in the documents")


if __name__ == "__main__":
    main([profiles_hold_what_they_promise, ports_are_those_people_know_and_on_loopback, px_knows_every_setting_it_is_given])
