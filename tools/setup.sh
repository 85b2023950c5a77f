#!/bin/sh
# setup.sh GROUP...: install the Debian packages that a make target needs, and
# only those that are missing. Groups: test, generate, vm, bench, package. Idempotent;
# says what it does; does nothing (and needs no root) when all are there.
set -eu

packages() {
	case $1 in
	test) echo gcc libc6-dev iproute2 busybox-static dbus tmux chromium git openssh-client openssh-server gpg gpgv postgresql-15 mariadb-server-core mariadb-client-core ;;
	generate) echo clang-19 llvm-19 clang-format-19 ;;
	vm) echo qemu-system-x86 qemu-system-arm busybox-static kmod cpio xz-utils zstd python3 ;;
	bench) echo iproute2 ;;
	package) echo qemu-system-x86 mmdebstrap e2fsprogs rpm cpio zstd busybox-static git ;;
	*)
		echo "setup.sh: no group $1 (test generate vm bench package)" >&2
		exit 2
		;;
	esac
}

missing=
for group in "$@"; do
	for p in $(packages "$group"); do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
	done
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "setup.sh: this is no Debian; install yourself:$missing" >&2
	exit 3
fi
if [ "$(id -u)" != 0 ]; then
	echo "setup.sh: root is needed to install:$missing (sudo make …)" >&2
	exit 3
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "setup: done"
