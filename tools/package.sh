#!/bin/sh
# package.sh VERSION: what a release brings, under build/: deb, rpm, apk and
# Arch packages, a static tarball, the bill of materials, and their digests.
# The same commit gives the same bytes. GOARCH chooses the architecture,
# FORMATS some of the formats.
set -eu
version=$1
cd "$(dirname "$0")/.."
arch=$(go env GOARCH)
out=build/packages
stage=build/stage
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
time=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

# A number that every package manager orders alike: that of the tag, then the
# commits since; without a tag, 0.0 and the time of the commit.
case $version in
v[0-9]*)
	number=$(echo "$version" | sed -E 's/^v//; s/-dirty$//; s/-([0-9]+)-g[0-9a-f]+$/.\1/')
	;;
*) number=0.0.$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S) ;;
esac

rm -rf "$stage" "$out"
mkdir -p "$stage/man" "$stage/completions" "$out"
cp build/snitch "$stage/snitch"

# Pages and completions come from a snitch that runs here.
native=build/snitch
[ "$arch" = "$(go env GOHOSTARCH)" ] || {
	native=build/snitch-native
	GOARCH=$(go env GOHOSTARCH) go build -trimpath -ldflags "-X main.version=$version" -o "$native" ./cmd/snitch
}
"$native" man "$stage/man"
gzip -n9 "$stage"/man/*
"$native" completion bash >"$stage/completions/snitch.bash"
"$native" completion zsh >"$stage/completions/_snitch"
"$native" completion fish >"$stage/completions/snitch.fish"

go run ./tools/sbom -binary "$stage/snitch" -version "$version" -time "$time" -o "$stage/snitch.cdx.json" -licences "$stage/third-party-licences"
gzip -n9 "$stage/third-party-licences"
cat packaging/copyright >"$stage/copyright"

(cd tools/nfpm && GOARCH='' go build -o ../../build/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm)
export SOURCE_DATE_EPOCH
# nfpm gives an apk's scripts the time that their files have here.
touch -d "@$SOURCE_DATE_EPOCH" packaging/apk/*
for format in ${FORMATS:-deb rpm apk archlinux}; do
	units=/usr/lib/systemd/system
	[ "$format" != deb ] || units=/lib/systemd/system
	sed "s|@STAGE@|$stage|; s|@VERSION@|$number|; s|@ARCH@|$arch|; s|@UNITS@|$units|" packaging/nfpm.yaml >"$stage/nfpm.yaml"
	build/nfpm package --config "$stage/nfpm.yaml" --packager "$format" --target "$out" >"$stage/log" || {
		cat "$stage/log" >&2
		exit 1
	}
done

name=snitch-$version-linux-$arch
mkdir "$stage/$name"
cp -r "$stage/snitch" "$stage/man" "$stage/completions" "$stage/snitch.cdx.json" "$stage/third-party-licences.gz" \
	README.md LICENSE docs packaging/systemd packaging/sysusers.conf packaging/tmpfiles.conf "$stage/$name"
tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w --mtime="@$SOURCE_DATE_EPOCH" -C "$stage" -cf - "$name" |
	gzip -n9 >"$out/$name.tar.gz"
cp "$stage/snitch.cdx.json" "$out/$name.cdx.json"
rm -rf "$stage"
cd "$out"
sha256sum -- * >SHA256SUMS
cd ../..
ls -l "$out"
