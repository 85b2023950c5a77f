package main

import (
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// runSpeedServe accepts, echoes and drops as fast as it can; on the same port
// it has a UDP socket that nobody reads. It ends with its standard input.
func runSpeedServe(args []string) error {
	f := flags("speed-serve")
	var at netip.AddrPort
	f.TextVar(&at, "at", netip.AddrPort{}, "address")
	ready := f.Int("ready", -1, "descriptor to write `ready` to")
	if err := f.Parse(args); err != nil {
		return err
	}
	sv := service{proto: "tcp", addr: at, options: map[string]string{}}
	l, err := listenStream(&sv)
	if err != nil {
		return err
	}
	defer l.Close()
	u, err := listenDatagram(&service{proto: "udp", addr: at, options: map[string]string{}})
	if err != nil {
		return err
	}
	defer u.Close()
	// The accepting thread ends with the process: this program only waits for
	// its standard input.
	go acceptAll(l.(*streamService).fd)
	if err := announce(*ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func acceptAll(l int) {
	for {
		fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		// A connection that was reset says nothing: it is closed at once, here.
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(set, 0); n > 0 && set[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
			_ = unix.Close(fd)
			continue
		}
		go answerSpeed(fd)
	}
}

func answerSpeed(fd int) {
	defer unix.Close(fd)
	p := make([]byte, 256<<10)
	if n, err := unix.Read(fd, p[:1]); n != 1 || err != nil {
		return
	}
	echo := p[0] == kindEcho
	for {
		n, err := raw(unix.SYS_READ, uintptr(fd), pointer(p), uintptr(len(p)), 0, 0, 0)
		if n <= 0 || err != nil {
			return
		}
		if !echo {
			continue
		}
		if _, err := raw(unix.SYS_WRITE, uintptr(fd), pointer(p), uintptr(n), 0, 0, 0); err != nil {
			return
		}
	}
}
