#!/bin/busybox sh
# The guest's pid 1: makes the initramfs a root that may be pivoted away from,
# mounts what a host has, runs /vm/command and reports its end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
if [ "${1:-}" != second ]; then
	/bin/busybox --install -s /bin
	mkdir -p /new
	mount --bind / /new
	cd /new
	mount --move . /
	exec chroot . /bin/busybox sh /init second
fi
cd /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
grep -q ' /dev ' /proc/mounts || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -sf "fd/${i%:*}" "/dev/${i#*:}"; done
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
hostname snitch-vm
ulimit -l unlimited
ulimit -n 65536
. /vm/ports # OUT and STATUS
for port in "$OUT" "$STATUS"; do stty -F "$port" raw -echo; done
echo booted >"$STATUS"
cd /work
sh /vm/command </dev/null >"$OUT" 2>&1
echo "status=$?" >"$STATUS"
stty -F "$OUT" drain 2>/dev/null
stty -F "$STATUS" drain 2>/dev/null
sleep 0.1
echo b >/proc/sysrq-trigger
sleep 5
