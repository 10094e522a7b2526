#!/bin/sh
# Fetches the Apache Kafka that tests and benchmarks run, once, into .cache/kafka-4.1.0 (or $HEADWORKS_KAFKA_HOME).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${HEADWORKS_KAFKA_HOME:-$here/../../.cache/kafka-4.1.0}
if [ -d "$home/lib" ]; then
    exit 0
fi
for tool in java mvn; do
    command -v "$tool" >/dev/null || {
        echo "tests/kafka/fetch.sh: $tool is missing; 'scripts/setup test' installs it" >&2
        exit 1
    }
done
mkdir -p "$home"
# Into a folder of its own first: a fetch that was cut short must not pass for a whole one.
partial=$(mktemp -d "$home/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$partial/lib"
# Another fetch may have been faster.
[ -d "$home/lib" ] || mv "$partial/lib" "$home/lib"
