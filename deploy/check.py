"""Checks what no schema knows: that docker-compose.yml, prometheus.yml, the Dockerfile, the code
and its documentation name the same things. Run by deploy/check.sh; prints what is wrong.
"""

import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
SERVICES = {"game-api": "game-api/src", "outbox-relay": "outbox-relay/src"}
# The OpenTelemetry SDK reads some of these by itself.
FOREIGN = re.compile(r"^OTEL_")
# What a reader of shared::env takes as a variable's name.
NAME = re.compile(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)"')
# A tag that names one release: digits with at least one dot, or a dated one.
PINNED = re.compile(r"^v?\d+\.\d+[\w.-]*$|^[a-z]+-\d{8}[\w-]*$")


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def yaml(path):
    return YAML(typ="safe").load(text(path))


def seconds(duration):
    value, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()
    return int(value) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def variables_of(source):
    """The names that the non-test part of a service's configuration reads."""
    found = set()
    for path in sorted((ROOT / source).rglob("*.rs")):
        if "tests" in (*path.parts, path.stem):
            continue
        body = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests {")[0]
        if "env::" in body or "Env" in body:
            found |= set(NAME.findall(body))
    return found


def service_of(compose_service):
    command = compose_service.get("command") or [""]
    return command[0] if command[0] in SERVICES else None


def check_images(compose, dockerfile):
    images = [s["image"] for s in compose["services"].values() if "build" not in s]
    stages = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    for image in images + stages:
        tag = image.partition(":")[2]
        if not PINNED.match(tag):
            yield f"the image {image} is not pinned to a release"


def check_variables(compose, documented):
    for source in [*SERVICES.values(), "shared/src"]:
        for name in sorted(variables_of(source) - documented):
            if name.startswith("CARGO_"):
                continue
            yield f"docs/configuration.md does not name {name}, which {source} reads"
    for name, service in compose["services"].items():
        binary = service_of(service)
        if binary is None:
            continue
        known = variables_of(SERVICES[binary]) | variables_of("shared/src")
        for variable in service.get("environment", {}):
            if variable not in known and not FOREIGN.match(variable):
                yield f"{name} is given {variable}, which {binary} does not read"


def check_defaults(configuration):
    """The defaults that the code documents stand in the row of the variable."""
    defaults = dict(
        re.findall(
            r'(?:variable\(|name: )\s*"(\w+)",\s*(?:what: )?"[^"]*?default:? (\d+)',
            text("game-api/src/config/variables.rs") + text("game-api/src/migrate.rs"),
        )
    )
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| `?(\w+)`? \|", text("outbox-relay/src/variables.md"), re.M)
    defaults |= {name: default for name, default in rows if default != "required"}
    for name, default in sorted(defaults.items()):
        row = next((line for line in configuration.splitlines() if f"| `{name}`" in line or f"`, `{name}`" in line), "")
        if default not in re.findall(r"\w+", row):
            yield f"docs/configuration.md does not give {default} as the default of {name}"


def check_drain(compose):
    for name, service in compose["services"].items():
        if service_of(service) is None or name == "migrate":
            continue
        deadline = int(service["environment"].get("DRAIN_DEADLINE_MS", 20_000)) / 1000
        if seconds(service["stop_grace_period"]) <= deadline + 1:
            yield f"{name}: stop_grace_period is not above the drain deadline of {deadline} s"


def check_targets(compose, prometheus):
    targets = {
        target
        for job in prometheus["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    for name, service in compose["services"].items():
        port = str(service.get("environment", {}).get("OPS_ADDR", "")).rpartition(":")[2]
        if port and f"{name}:{port}" not in targets:
            yield f"prometheus.yml does not scrape {name}:{port}"
    for target in sorted(targets):
        host = target.partition(":")[0]
        if host != "localhost" and host not in compose["services"]:
            yield f"prometheus.yml scrapes {target}, which is no service"


def check_secrets(compose):
    seen = {}
    for name, service in compose["services"].items():
        for variable in ("FOGLINE_KEYS", "ALLOWED_ORIGINS"):
            value = service.get("environment", {}).get(variable)
            if value is not None and seen.setdefault(variable, value) != value:
                yield f"{name}: {variable} is not the same on every instance"


def check_architecture(architecture):
    """Every path, and every test of the table of invariants, is there."""
    for path in sorted(set(re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", architecture))):
        if "." in Path(path).name or path.endswith("/"):
            place = ROOT / path
            shorthand = [*ROOT.glob(f"game-api/src/{path}"), *ROOT.glob(f"game-api/src/gateway/{path}"),
                         *ROOT.glob(f"outbox-relay/src/{path}")]
            if not place.exists() and not shorthand:
                yield f"ARCHITECTURE.md names {path}, which is not there"
    invariants = architecture.partition("## Invariants")[2].partition("\n## ")[0]
    tests = set()
    for source in ("game-api", "outbox-relay", "shared", "e2e", "xtask"):
        for path in (ROOT / source).rglob("*.rs"):
            tests |= set(re.findall(r"fn (\w+)\(", path.read_text(encoding="utf-8")))
    for test in sorted(set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", invariants)) - tests):
        yield f"ARCHITECTURE.md names the test {test}, which is not there"


def check_links():
    """Every relative link of the documentation leads somewhere."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)} links to {target}, which is not there"


def main():
    compose = yaml("docker-compose.yml")
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text("docs/configuration.md")))
    problems = [
        *check_images(compose, text("deploy/Dockerfile")),
        *check_variables(compose, documented),
        *check_defaults(text("docs/configuration.md")),
        *check_drain(compose),
        *check_targets(compose, yaml("prometheus.yml")),
        *check_secrets(compose),
        *check_architecture(text("ARCHITECTURE.md")),
        *check_links(),
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
