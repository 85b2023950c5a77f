package broker

import (
	"errors"
	"fmt"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what the core may ask for.
const (
	maxHelpers      = 16 // at a time
	maxStarts       = 30
	maxStartsPeriod = time.Minute
	socketFD        = 3 // where spawn put it
)

// server is the broker. Its loop stays on one thread, which lives as long as
// the process: helpers die with it (PDEATHSIG).
type server struct {
	socket int
	user   User
	helper []string // arguments with which the binary is a helper; the kind is appended
	recent []time.Time

	mu      sync.Mutex // guards what follows and writing to socket
	helpers map[uint32]int
}

// Serve is the broker's main: it serves the core until the socket ends, and
// then ends the helpers. args are the user and group that Start appended;
// helper are the arguments with which this binary calls RunHelper.
func Serve(args, helper []string) error {
	runtime.LockOSThread()
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE) // the end of the socket is the only order
	name("snitch-broker")
	if err := confined(kept); err != nil {
		return err
	}
	user, err := parseUser(args)
	if err != nil {
		return err
	}
	unix.CloseOnExec(socketFD)
	kind, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return errors.New("the broker is started by 'snitch run' only")
	}
	if err := limit(unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	if err := limit(unix.RLIMIT_NOFILE, 64); err != nil {
		return err
	}
	s := &server{socket: socketFD, user: user, helper: helper, helpers: map[uint32]int{}}
	defer s.endHelpers()
	if err := s.tell(answer{Event: eventReady}); err != nil {
		return err
	}
	_ = Trim() // it runs as well with more memory
	return s.loop()
}

func parseUser(args []string) (User, error) {
	if len(args) != 2 {
		return User{}, fmt.Errorf("want a user and a group, got %d arguments", len(args))
	}
	uid, uidErr := strconv.ParseUint(args[0], 10, 32)
	gid, gidErr := strconv.ParseUint(args[1], 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return User{}, fmt.Errorf("read user: %w", err)
	}
	if uid == 0 || gid == 0 {
		return User{}, errors.New("helpers may not run as root")
	}
	return User{UID: uint32(uid), GID: uint32(gid)}, nil
}

func (s *server) loop() error {
	buf := make([]byte, maxMessage)
	for {
		n, passed, err := receive(s.socket, buf)
		if n == 0 && err == nil {
			return nil // the core is gone
		}
		var req request
		if err == nil {
			err = decode(buf[:n], &req)
		}
		if err == nil {
			err = s.serve(req, passed)
		}
		if passed >= 0 {
			_ = unix.Close(passed) // the helper has its own copy
		}
		if err != nil {
			return err // a core that sends nonsense is not to be served
		}
	}
}

func (s *server) serve(req request, passed int) error {
	switch req.Op {
	case opStop:
		s.stop(req.ID)
		return nil
	case opStart:
		pid, err := s.start(req, passed)
		if err != nil {
			return s.tell(answer{Event: eventFailed, ID: req.ID, Status: err.Error()})
		}
		if err := s.tell(answer{Event: eventStarted, ID: req.ID, PID: pid}); err != nil {
			return err
		}
		go s.wait(req.ID, pid)
		return nil
	}
	return fmt.Errorf("no such request %q", req.Op)
}

// start starts one helper of a known kind.
func (s *server) start(req request, passed int) (int, error) {
	if !req.Kind.valid() {
		return 0, fmt.Errorf("no such kind of helper: %q", string(req.Kind))
	}
	if passed < 0 {
		return 0, errors.New("a start carries one descriptor")
	}
	user, err := s.runsAs(req)
	if err != nil {
		return 0, err
	}
	if err := s.admit(req.ID, time.Now()); err != nil {
		return 0, err
	}
	argv := append([]string{"snitch"}, s.helper...)
	pid, err := syscall.ForkExec(self, append(argv, string(req.Kind)), &syscall.ProcAttr{
		Dir: "/", Env: helperEnvironment,
		Files: []uintptr{uintptr(passed), uintptr(passed), 2},
		Sys: &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: user.UID, Gid: user.GID},
			Pdeathsig:  syscall.SIGKILL,
		},
	})
	if err != nil {
		return 0, fmt.Errorf("execute helper: %w", err)
	}
	s.mu.Lock()
	s.helpers[req.ID] = pid
	s.mu.Unlock()
	return pid, nil
}

// admit bounds how many helpers run and how often they are started.
func (s *server) admit(id uint32, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.helpers[id]; taken {
		return fmt.Errorf("helper %d runs already", id)
	}
	if len(s.helpers) >= maxHelpers {
		return fmt.Errorf("%d helpers run already", len(s.helpers))
	}
	for len(s.recent) > 0 && now.Sub(s.recent[0]) > maxStartsPeriod {
		s.recent = s.recent[1:]
	}
	if len(s.recent) >= maxStarts {
		return fmt.Errorf("%d starts within %s: too many", len(s.recent), maxStartsPeriod)
	}
	s.recent = append(s.recent, now)
	return nil
}

// wait reaps a helper and tells the core how it ended. It waits without
// reaping first and reaps under the lock: whoever holds the lock can send a
// signal to a number of the table without hitting its next owner.
func (s *server) wait(id uint32, pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	var status syscall.WaitStatus
	s.mu.Lock()
	_, err := syscall.Wait4(pid, &status, 0, nil)
	delete(s.helpers, id)
	s.mu.Unlock()
	how := fmt.Sprintf("exit %d", status.ExitStatus())
	switch {
	case err != nil:
		how = err.Error()
	case status.Signaled():
		how = "signal: " + status.Signal().String()
	}
	_ = s.tell(answer{Event: eventExited, ID: id, Status: how}) // the loop sees the end of the socket
}

func (s *server) stop(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid, ok := s.helpers[id]; ok {
		_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
	}
}

func (s *server) endHelpers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range s.helpers {
		_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
	}
}

func (s *server) tell(a answer) error {
	b, err := encode(a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := unix.Sendto(s.socket, b, unix.MSG_NOSIGNAL, nil); err != nil {
		return fmt.Errorf("answer the core: %w", err)
	}
	return nil
}
