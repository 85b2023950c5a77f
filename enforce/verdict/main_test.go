package verdict

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes the test binary a program that is told what to try.
const childEnv = "SNITCH_VERDICT_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
	case holderRole:
		hold()
		return
	default:
		obey()
		return
	}
	os.Exit(m.Run())
}

// obey does what each line says and answers with the error number, how long it
// took, in microseconds, and how much was tried.
func obey() {
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("up", os.Getpid())
	for lines.Scan() {
		began := time.Now()
		tally = 0
		err := try(strings.Fields(lines.Text()))
		fmt.Println(number(err), time.Since(began).Microseconds(), tally)
	}
}

func number(err error) int {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return int(errno)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return int(unix.ETIMEDOUT)
	}
	fmt.Fprintln(os.Stderr, err)
	return -1
}

// kept are connections that stay open between lines.
var kept = map[string]net.Conn{}

func try(words []string) error {
	switch words[0] {
	case "tcp", "udp":
		return dial(words[0], words[1])
	case "keep":
		c, err := net.Dial(words[1], words[2])
		kept["k"] = c
		return err
	case "use":
		return use(kept["k"])
	case "sendto":
		return sendTo(words[1], words[1])
	case "again":
		return again(words[1], words[2])
	case "raw":
		return raw(words[1])
	case "mapped":
		return mapped(words[1])
	case "listen":
		ln, err := net.Listen("tcp", words[1])
		if err == nil {
			ln.Close()
		}
		return err
	case "connectudp":
		return connectedUDP(words[1], words[2])
	case "echo":
		return echoOn(words[1], words[2])
	case "passed":
		return passed(words[1])
	case "forked":
		return run("/proc/self/exe", words[1:])
	case "run":
		return run(words[1], words[2:])
	case "flood":
		return flood(words[1], words[2], words[3])
	case "reach":
		return reach(words[1], words[2])
	case "peers":
		return manyPeers(words[1], words[2], words[3])
	case "fastopen":
		return fastOpen(words[1])
	}
	return fmt.Errorf("what is %q?", words[0])
}

func dial(network, addr string) error {
	c, err := net.DialTimeout(network, addr, patience)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return syscall.ETIMEDOUT // or our own patience
	}
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("payload"))
	return err
}

// use writes and reads back.
func use(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("payload")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 16))
	return err
}

func sendTo(addrs ...string) error {
	network := "udp4"
	if strings.HasPrefix(addrs[0], "[") {
		network = "udp6"
	}
	c, err := net.ListenPacket(network, ":0")
	if err != nil {
		return err
	}
	defer c.Close()
	for _, addr := range addrs {
		to, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo([]byte("payload"), to); err != nil {
			return err
		}
	}
	return nil
}

func sockaddr(addr string) (int, unix.Sockaddr) {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		panic(err)
	}
	if v4 := a.IP.To4(); v4 != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(v4)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

// again connects a TCP socket, takes it back by AF_UNSPEC and connects it
// elsewhere.
func again(first, then string) error {
	family, to := sockaddr(first)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return errors.New("first: " + err.Error())
	}
	var unspec [16]byte
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), addressOf(&unspec), 16)
	if errno != 0 {
		return errors.New("disconnect: " + errno.Error())
	}
	_, to = sockaddr(then)
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("payload"))
	return err
}

// raw sends an ICMP echo request by hand.
func raw(host string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}, 0, &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(host).To4())})
}

// mapped connects an IPv6 socket to an IPv4 peer.
func mapped(addr string) error {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet6{Port: n, Addr: [16]byte(net.ParseIP(host).To16())})
}

// connectedUDP connects to one peer and sends to another.
func connectedUDP(to, other string) error {
	family, first := sockaddr(to)
	_, second := sockaddr(other)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, first); err != nil {
		return errors.New("first: " + err.Error())
	}
	return unix.Sendto(fd, []byte("payload"), 0, second)
}

// fastOpen sends with the SYN.
func fastOpen(addr string) error {
	family, to := sockaddr(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte("payload"), unix.MSG_FASTOPEN, to)
}

// passed makes a socket, passes it to itself through a Unix socket and connects
// what came out.
func passed(addr string) error {
	family, to := sockaddr(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(fd), nil, 0); err != nil {
		return err
	}
	unix.Close(fd)
	control := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, 0)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	defer unix.Close(fds[0])
	return unix.Connect(fds[0], to)
}

// run tries in a child that runs a program of this kind.
func run(path string, words []string) error {
	cmd := exec.Command(path)
	cmd.Stdin = strings.NewReader(strings.Join(words, " ") + "\n")
	cmd.Env = os.Environ()
	said, err := cmd.Output()
	if err != nil {
		return errors.New("child: " + err.Error())
	}
	var pid, errno int
	var up string
	if _, err := fmt.Sscan(string(said), &up, &pid, &errno); err != nil {
		return errors.New("child: " + string(said))
	}
	if errno == 0 {
		return nil
	}
	return syscall.Errno(errno)
}

// echoOn answers on a port until the program ends.
func echoOn(network, addr string) error {
	if network == "tcp" || network == "mptcp" {
		var config net.ListenConfig
		config.SetMultipathTCP(network == "mptcp")
		ln, err := config.Listen(context.Background(), "tcp4", addr)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go echo(c)
			}
		}()
		return nil
	}
	c, err := net.ListenPacket("udp4", addr)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
	return nil
}
