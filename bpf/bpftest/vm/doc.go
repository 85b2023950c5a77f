// Package vm boots a kernel under software emulation (QEMU, no KVM needed) and
// runs a program in it as root: what the product must prove on kernels that
// this machine does not run. Tests only.
//
// Kernels are Debian's, fetched by the script getkernels into the cache
// (SNITCH_VM, else snitch-vm in the user's cache directory). The guest is an
// initramfs of busybox, the kernel's modules that matter to networking and BPF,
// and the caller's files; its root is a tmpfs that may be pivoted away from,
// with proc, sysfs, devtmpfs, bpffs, tracefs, securityfs and cgroup2 mounted
// and the loopback up.
package vm
