#!/bin/sh
# package.sh VERSION: a reproducible static tarball of the binary and its texts.
set -eu
version=$1
name=snitch-$version-linux-$(go env GOARCH)
stage=build/$name
rm -rf "$stage"
mkdir -p "$stage"
cp build/snitch README.md LICENSE "$stage"
cp -r docs "$stage"
stamp=$(git log -1 --format=%ct)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$stamp" -C build -cf - "$name" | gzip -n9 >"build/$name.tar.gz"
rm -rf "$stage"
echo "build/$name.tar.gz"
