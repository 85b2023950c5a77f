package vm

import (
	"fmt"
	"strings"
)

// board is what differs between the emulated machines. Each has a console and
// two more serial ports, on the emulator's standard output and its descriptors
// 3 and 4.
type board struct {
	qemu    string
	options string
	serial  []string
	console string
	ports   string // of the guest's init script
}

func boardOf(k kernel) board {
	const out, status = "/proc/self/fd/3", "/proc/self/fd/4"
	if k.arm64() {
		return board{
			qemu:    "qemu-system-aarch64",
			options: "-M virt,gic-version=3 -cpu max,pauth-impdef=on",
			serial: []string{
				"-chardev", "file,id=out,path=" + out, "-chardev", "file,id=status,path=" + status,
				"-device", "pci-serial-2x,chardev1=out,chardev2=status",
			},
			console: "ttyAMA0",
			ports:   "OUT=/dev/ttyS0 STATUS=/dev/ttyS1\n",
		}
	}
	return board{
		qemu:    "qemu-system-x86_64",
		options: "-M pc,vmport=off,hpet=off -cpu max,la57=off,pmu=off",
		serial:  []string{"-serial", "file:" + out, "-serial", "file:" + status},
		console: "ttyS0",
		ports:   "OUT=/dev/ttyS1 STATUS=/dev/ttyS2\n",
	}
}

// parameters make boots quick and quiet, and panics final.
const parameters = "quiet loglevel=4 panic=-1 reboot=t mitigations=off nokaslr tsc=reliable no_timer_check " +
	"random.trust_cpu=on rcupdate.rcu_expedited=1 cryptomgr.notests nowatchdog audit=0 " +
	"i8042.noaux i8042.nokbd i8042.nopnp"

func (m Machine) arguments(b board, k kernel, initrd string) []string {
	cpus, memory := m.CPUs, m.Memory
	if cpus == 0 {
		cpus = 2
	}
	if memory == 0 {
		memory = 768
	}
	args := strings.Fields("-nodefaults -no-user-config -display none -no-reboot -nic none " +
		"-accel tcg,thread=multi,tb-size=128 -serial stdio " + b.options)
	args = append(args, b.serial...)
	return append(args,
		"-smp", fmt.Sprint(cpus), "-m", fmt.Sprint(memory),
		"-kernel", k.image(), "-initrd", initrd,
		"-append", fmt.Sprintf("console=%s %s %s", b.console, parameters, m.Cmdline))
}
