#!/bin/sh
# make.sh: make the databases beside it with the real tools. On Debian:
# apt-get install rpm pacman-package-manager libarchive-tools. Not part of the
# tests; the databases are committed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

tree() { # the files of the package "hello", in $1
	mkdir -p "$1/usr/bin" "$1/usr/share/hello" "$1/etc"
	printf 'hello, world\n' >"$1/usr/bin/hello"
	printf 'a name with a space\n' >"$1/usr/bin/hello world"
	printf 'data\n' >"$1/usr/share/hello/hello"
	printf 'setting\n' >"$1/etc/hello.conf"
	ln -s hello "$1/usr/bin/hallo"
	chmod 755 "$1/usr/bin/hello"
}

# rpm: two packages of one base name.
for name in hello other; do
	cat >$name.spec <<-EOF
		Name: $name
		Version: 1.0
		Release: 2
		Summary: A test
		License: none
		BuildArch: noarch
		%description
		A test.
		%install
		cp -a $work/tree-$name/. %{buildroot}
		%files
		$(if [ $name = hello ]; then printf '/usr/bin/hallo\n/usr/bin/hello\n"/usr/bin/hello world"\n/usr/share/hello\n%%config /etc/hello.conf'; else echo /opt/other/hello; fi)
	EOF
done
tree tree-hello
mkdir -p tree-other/opt/other
printf 'another hello\n' >tree-other/opt/other/hello
for name in hello other; do
	rpmbuild -bb --quiet --define "_topdir $work/rpm" --define '_build_id_links none' $name.spec >/dev/null 2>&1
done
mkdir root-rpm
rpm --root "$work/root-rpm" --dbpath /var/lib/rpm --define '_db_backend sqlite' --initdb
rpm --root "$work/root-rpm" --dbpath /var/lib/rpm --define '_db_backend sqlite' --nodeps --nosignature -i rpm/RPMS/noarch/*.rpm
rpm --root "$work/root-rpm" --dbpath /var/lib/rpm --define '_db_backend sqlite' --verify --nodeps -a
gzip -9nc root-rpm/var/lib/rpm/rpmdb.sqlite >"$here/rpmdb.sqlite.gz"

# pacman: the package as makepkg(8) writes it.
tree tree-pacman
cat >tree-pacman/.PKGINFO <<-EOF
	pkgname = hello-tool
	pkgbase = hello-tool
	pkgver = 1:1.0-2
	pkgdesc = A test
	builddate = 1700000000
	packager = Nobody
	size = 64
	arch = any
	license = none
	backup = etc/hello.conf
EOF
(
	cd tree-pacman
	bsdtar -czf .MTREE --format=mtree --options='!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link' .PKGINFO etc usr
	bsdtar -cf - .MTREE .PKGINFO etc usr | zstd -q >"$work/hello-tool-1:1.0-2-any.pkg.tar.zst"
)
mkdir -p root-pacman/var/lib/pacman root-pacman/cache
pacman --root root-pacman --dbpath root-pacman/var/lib/pacman --cachedir root-pacman/cache --config /dev/null --noconfirm -U "hello-tool-1:1.0-2-any.pkg.tar.zst" >/dev/null
pacman --root root-pacman --dbpath root-pacman/var/lib/pacman --config /dev/null -Qkk hello-tool
tar -C root-pacman/var/lib/pacman --sort=name --mtime=@1700000000 --owner=0 --group=0 -cf - local | gzip -9n >"$here/pacman-local.tar.gz"
ls -l "$here"
