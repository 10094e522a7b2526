#!/bin/sh
# Builds the OpenTelemetry collector that a test sends to, once for each list of versions, into .cache/collector.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${HEADWORKS_COLLECTOR_HOME:-$here/../../.cache/collector}
wanted=$(cat "$here/go.mod" "$here/main.go" | cksum)
if [ -x "$home/collector" ] && [ "$(cat "$home/built" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
command -v go >/dev/null || {
    echo "tests/collector/fetch.sh: go is missing; 'scripts/setup test' installs it" >&2
    exit 1
}
mkdir -p "$home"
(cd "$here" && go build -o "$home/collector" .)
echo "$wanted" >"$home/built"
