#!/bin/sh
# Installs the SDKs that tests point at the gateway, once for each list of versions, into .cache/senders (or
# $HEADWORKS_SENDERS_HOME).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${HEADWORKS_SENDERS_HOME:-$here/../../.cache/senders}
wanted=$(cat "$here/requirements.txt" "$here/package-lock.json" "$here/go/go.sum" "$here/go/main.go" | cksum)
if [ "$(cat "$home/installed" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
for tool in python3 npm go; do
    command -v "$tool" >/dev/null || {
        echo "tests/senders/fetch.sh: $tool is missing; 'scripts/setup test' installs it" >&2
        exit 1
    }
done
mkdir -p "$home/node"
python3 -m venv "$home/python"
"$home/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cp "$here/package.json" "$here/package-lock.json" "$home/node/"
(cd "$home/node" && npm ci --silent --no-fund --no-audit --ignore-scripts)
(cd "$here/go" && go build -o "$(cd "$home" && pwd)/go/cloudevents" .)
printf '%s\n' "$wanted" >"$home/installed"
