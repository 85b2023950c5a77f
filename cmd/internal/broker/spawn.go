package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// self is the running binary, also when its file was replaced by an upgrade or
// lies where a helper's user may not search.
const self = "/proc/self/exe"

// User is who helpers run as. Root is refused.
type User struct {
	UID, GID uint32
}

// Config is what Start needs.
type Config struct {
	Command []string // arguments with which this binary calls Serve; the user is appended
	User    User
	Log     *slog.Logger
	Stderr  *os.File // of the broker and its helpers; nil is /dev/null
}

// environment of the broker: nothing of the caller's, and a small heap. The
// live heap of an idle broker is what package initialisation left.
var environment = []string{"GOMAXPROCS=1", "GOGC=25", "GOMEMLIMIT=8MiB", "LANG=C"}

// Start starts the broker. Call it before anything that answers the kernel,
// and only once. The Client must be closed.
func Start(cfg Config) (*Client, error) {
	if cfg.User.UID == 0 || cfg.User.GID == 0 {
		return nil, errors.New("start broker: helpers may not run as root")
	}
	ours, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	defer ours.Close() // FileConn keeps a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), theirs.Close())
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("start broker: socket is a %T", conn), conn.Close(), theirs.Close())
	}
	process, err := spawn(cfg, theirs)
	// Closed before waiting: the broker alone may hold its end, else its death
	// would not be noticed.
	err = errors.Join(err, theirs.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), socket.Close())
	}
	c := newClient(cfg.Log, socket, process)
	if err := c.await(); err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), c.Close())
	}
	return c, nil
}

// spawn starts the broker on a thread of its own that gives up its privileges
// first, so that at no time a broker with more exists. The thread ends with its
// goroutine: nothing else may run on it. The broker therefore cannot ask for a
// signal at its parent's death, which Linux ties to the parent's thread; the
// end of the socket serves instead.
//
// spawn returns when the thread is gone: system calls for all threads (Confine)
// must find the same privileges on each, or the runtime aborts.
func spawn(cfg Config, socket *os.File) (process *os.Process, err error) {
	thread := onMortalThread(func() { process, err = spawnHere(cfg, socket) })
	if !ended(thread) {
		return process, errors.Join(err, errors.New("the thread that started the broker does not end"))
	}
	return process, err
}

// onMortalThread runs f on a thread that ends with it and returns its id. The
// main thread never ends, so while it is the one, f runs on another.
func onMortalThread(f func()) int {
	done := make(chan int, 1)
	go func() {
		runtime.LockOSThread()
		thread := unix.Gettid()
		if thread != unix.Getpid() {
			f()
			done <- thread
			return
		}
		done <- onMortalThread(f)
		runtime.UnlockOSThread()
	}()
	return <-done
}

// ended waits until a thread of this process is gone.
func ended(thread int) bool {
	task := fmt.Sprintf("/proc/self/task/%d", thread)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(task); errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

func spawnHere(cfg Config, socket *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open null device: %w", err)
	}
	defer null.Close()
	if err := dropPrivileges(); err != nil {
		return nil, err
	}
	stderr := cfg.Stderr
	if stderr == nil {
		stderr = null
	}
	argv := append([]string{"snitch"}, cfg.Command...)
	argv = append(argv, strconv.FormatUint(uint64(cfg.User.UID), 10), strconv.FormatUint(uint64(cfg.User.GID), 10))
	process, err := os.StartProcess(self, argv, &os.ProcAttr{
		Dir: "/", Env: environment,
		Files: []*os.File{null, null, stderr, socket},
		// Away from the terminal: Ctrl-C is the core's business.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("execute %s: %w", self, err)
	}
	return process, nil
}
