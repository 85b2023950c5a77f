package nft_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// workerEnv makes this binary a worker: a process that makes sockets in the
// namespace and cgroup that it was started in.
const workerEnv = "SNITCH_NFT_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		work()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ask is one thing that a worker does.
type ask struct {
	Op   string // connect, listen
	Net  string // tcp, udp
	Addr netip.AddrPort
	UID  uint32
}

// answer is what came of it.
type answer struct {
	Errno  unix.Errno // of connect or send
	Echoed bool       // the peer's answer came
	Took   time.Duration
}

func work() {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var a ask
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			return
		}
		var reply answer
		switch a.Op {
		case "connect":
			reply = converse(a)
		case "listen":
			if err := listen(a); err != nil {
				reply.Errno = unix.EINVAL
			}
		}
		if out.Encode(reply) != nil {
			return
		}
	}
}

// asUser makes a socket whose file belongs to another user. The file system
// user is one of the thread alone.
func asUser(uid uint32, family, kind int) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setfsuid(int(uid)); err != nil {
		return -1, err
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if back := unix.Setfsuid(0); back != nil {
		panic(back)
	}
	return fd, err
}

func sockaddr(a netip.AddrPort) (int, unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func socketKind(network string) int {
	if network == "tcp" {
		return unix.SOCK_STREAM
	}
	return unix.SOCK_DGRAM
}

// patience is how long an answer may take; only what is dropped in silence
// takes so long.
var patience = bpftest.Patience(400 * time.Millisecond)

func converse(a ask) (out answer) {
	family, peer := sockaddr(a.Addr)
	fd, err := asUser(a.UID, family, socketKind(a.Net))
	if err != nil {
		return answer{Errno: errno(err)}
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(int64(patience))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	began := time.Now()
	err = connect(fd, peer)
	if err == nil {
		_, err = retry(func() (int, error) { return unix.Write(fd, []byte{'x'}) })
	}
	out.Took = time.Since(began)
	if err != nil {
		out.Errno = errno(err)
		return out
	}
	n, err := retry(func() (int, error) { return unix.Read(fd, make([]byte, 1)) })
	out.Echoed = n == 1
	if err != nil {
		out.Errno = errno(err)
	}
	return out
}

// retry repeats what a signal of the Go runtime interrupted.
func retry(f func() (int, error)) (n int, err error) {
	for n, err = f(); errors.Is(err, unix.EINTR); n, err = f() {
	}
	return n, err
}

// connect goes on in the kernel when it is interrupted.
func connect(fd int, peer unix.Sockaddr) error {
	err := unix.Connect(fd, peer)
	if !errors.Is(err, unix.EINTR) {
		return err
	}
	if _, err := retry(func() (int, error) {
		return unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(patience.Milliseconds()))
	}); err != nil {
		return err
	}
	value, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && value != 0 {
		err = unix.Errno(value)
	}
	return err
}

func errno(err error) (e unix.Errno) {
	if !errors.As(err, &e) {
		e = unix.EIO
	}
	return e
}

// listen echoes on an address for as long as the process lives.
func listen(a ask) error {
	family, at := sockaddr(a.Addr)
	fd, err := asUser(a.UID, family, socketKind(a.Net))
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err := unix.Bind(fd, at); err != nil {
		return err
	}
	if a.Net == "udp" {
		go echoDatagrams(fd)
		return nil
	}
	if err := unix.Listen(fd, 64); err != nil {
		return err
	}
	go echoStreams(fd, a.UID)
	return nil
}

func echoDatagrams(fd int) {
	b := make([]byte, 16)
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if err == nil {
			_ = unix.Sendto(fd, b[:n], 0, from)
		}
	}
}

// echoStreams accepts as a user, whose the accepted sockets then are.
func echoStreams(fd int, uid uint32) {
	runtime.LockOSThread()
	if err := unix.Setfsuid(int(uid)); err != nil {
		panic(err)
	}
	for {
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			continue
		}
		go func() {
			defer unix.Close(conn)
			b := make([]byte, 16)
			for {
				n, err := unix.Read(conn, b)
				if n <= 0 || err != nil {
					return
				}
				_, _ = unix.Write(conn, b[:n])
			}
		}()
	}
}

// worker is a running worker; one question at a time.
type worker struct {
	mu  sync.Mutex
	to  *json.Encoder
	out *bufio.Scanner
}

func startWorker(t testing.TB, at bpftest.Place) *worker {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), workerEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bpftest.Start(cmd, at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	return &worker{to: json.NewEncoder(in), out: bufio.NewScanner(out)}
}

func (w *worker) do(t testing.TB, a ask) answer {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.to.Encode(a); err != nil {
		t.Fatal(err)
	}
	if !w.out.Scan() {
		t.Fatalf("the worker ended: %v", w.out.Err())
	}
	var reply answer
	if err := json.Unmarshal(w.out.Bytes(), &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

// serve lets a worker echo on ports of both families.
func (w *worker) serve(t testing.TB, uid uint32, ports ...uint16) {
	t.Helper()
	for _, port := range ports {
		for _, network := range []string{"tcp", "udp"} {
			a := ask{Op: "listen", Net: network, Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), port), UID: uid}
			if got := w.do(t, a); got.Errno != 0 {
				t.Fatalf("listen on %s %d: %v", network, port, got.Errno)
			}
		}
	}
}

func (a ask) String() string {
	return fmt.Sprintf("%s to %s by user %d", a.Net, net.JoinHostPort(a.Addr.Addr().String(), fmt.Sprint(a.Addr.Port())), a.UID)
}
