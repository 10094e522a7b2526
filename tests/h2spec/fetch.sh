#!/bin/sh
# Builds h2spec, the conformance suite of HTTP/2, once into .cache/h2spec (or $HEADWORKS_H2SPEC_HOME).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${HEADWORKS_H2SPEC_HOME:-$here/../../.cache/h2spec}
if [ -x "$home/h2spec" ]; then
    exit 0
fi
command -v go >/dev/null || {
    echo "tests/h2spec/fetch.sh: go is missing; 'scripts/setup test' installs it" >&2
    exit 1
}
mkdir -p "$home"
home=$(cd "$home" && pwd)
# Outside of any module: its own says what it needs.
cd /
GOBIN="$home" go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
