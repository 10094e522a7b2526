#!/bin/sh
# Installs the SDKs that tests point at the gateway, once for each list of versions, into .cache/senders (or
# $HEADWORKS_SENDERS_HOME). Installs again where a list, a program or this script has changed, or one of them is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${HEADWORKS_SENDERS_HOME:-$here/../../.cache/senders}
wanted=$(cat "$0" "$here/requirements.txt" "$here/package.json" "$here/package-lock.json" \
    "$here/go/go.mod" "$here/go/go.sum" "$here/go"/*.go | cksum)
is_whole() { [ -x "$home/python/bin/python" ] && [ -d "$home/node/node_modules" ] && [ -x "$home/go/cloudevents" ]; }
if is_whole && [ "$(cat "$home/installed" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
for tool in python3 npm go; do
    command -v "$tool" >/dev/null || {
        echo "tests/senders/fetch.sh: $tool is missing; 'scripts/setup test' installs it" >&2
        exit 1
    }
done
mkdir -p "$home/node" "$home/go"
# What is cut short must not pass for whole.
rm -f "$home/installed"
python3 -m venv --clear "$home/python"
"$home/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cp "$here/package.json" "$here/package-lock.json" "$home/node/"
(cd "$home/node" && npm ci --silent --no-fund --no-audit --ignore-scripts)
(cd "$here/go" && go build -o "$(cd "$home" && pwd)/go/cloudevents" .)
is_whole || {
    echo "tests/senders/fetch.sh: not all that was to be installed is in $home" >&2
    exit 1
}
printf '%s\n' "$wanted" >"$home/installed"
