#!/bin/sh
# Fetches the Kinesis emulator that tests deliver to, once, into .cache/kinesis (or $HEADWORKS_KINESIS_HOME).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${HEADWORKS_KINESIS_HOME:-$here/../../.cache/kinesis}
if [ -d "$home/node_modules" ]; then
    exit 0
fi
for tool in node npm; do
    command -v "$tool" >/dev/null || {
        echo "tests/kinesis/fetch.sh: $tool is missing; 'scripts/setup test' installs it" >&2
        exit 1
    }
done
mkdir -p "$home"
# Into a folder of its own first: a fetch that was cut short must not pass for a whole one.
partial=$(mktemp -d "$home/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
cp "$here/package.json" "$partial/"
(cd "$partial" && npm install --silent --no-audit --no-fund --ignore-scripts >&2)
# Another fetch may have been faster.
[ -d "$home/node_modules" ] || mv "$partial/node_modules" "$home/node_modules"
