#!/bin/sh
# image.sh DIR: a Debian 12 with systemd for the guest of TestGuest, from apt:
# DIR/disk.ext4, DIR/vmlinuz and DIR/initrd. Made once, and anew when this
# script is another; root.
set -eu
dir=$1
! cmp -s "$0" "$dir/made-by" || exit 0
mkdir -p "$dir"
rm -f "$dir/made-by"
root=$(mktemp -d "$dir/root.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
# Not the cloud's kernel, which cannot suspend. Its initrd has what the guest's
# root is on, and nothing else.
mmdebstrap --quiet --variant=minbase --mode=root \
	--include=systemd,systemd-sysv,dbus,udev,linux-image-amd64,initramfs-tools,iproute2,ifupdown,kmod,passwd,procps \
	--customize-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"' \
	--customize-hook='printf "virtio_pci\nvirtio_blk\next4\n" >>"$1/etc/initramfs-tools/modules"' \
	--customize-hook='chroot "$1" update-initramfs -u' \
	bookworm "$root"
cp "$root"/boot/vmlinuz-* "$dir/vmlinuz"
cp "$root"/boot/initrd.img-* "$dir/initrd"
echo guest >"$root/etc/hostname"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
printf 'auto lo eth0\niface lo inet loopback\niface eth0 inet static\n\taddress 10.0.2.15/24\n\tgateway 10.0.2.2\n' >"$root/etc/network/interfaces"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\n' >"$root/etc/systemd/journald.conf.d/guest.conf"
# What runs comes on a second disk, as a tar archive; what it says goes to the
# second serial port.
cat >"$root/etc/systemd/system/guest.service" <<'UNIT'
[Unit]
After=network.target
[Service]
Type=oneshot
ExecStartPre=/bin/sh -c 'mkdir -p /run/guest && tar -xf /dev/vdb -C /run/guest'
ExecStart=/bin/sh /run/guest/run.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
TimeoutStartSec=infinity
[Install]
WantedBy=default.target
UNIT
ln -s /etc/systemd/system/guest.service "$root/etc/systemd/system/multi-user.target.wants/guest.service"
# An emulated machine takes its time.
mkdir -p "$root/etc/systemd/system/snitch.service.d"
printf '[Service]\nTimeoutStartSec=10min\n' >"$root/etc/systemd/system/snitch.service.d/guest.conf"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
truncate -s 3G "$dir/new.ext4"
mke2fs -q -t ext4 -d "$root" "$dir/new.ext4"
mv "$dir/new.ext4" "$dir/disk.ext4"
cp "$0" "$dir/made-by"
