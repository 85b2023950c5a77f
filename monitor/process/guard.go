package process

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on calls that another process can make wait: reading its memory, or
// looking up a name on a file system that it serves.
const (
	guardTime  = 100 * time.Millisecond
	guardSlots = 4
	// guardBurst is how much time may be waited at once, guardShare the part of
	// all time that may be waited in the long run (1/guardShare): a hostile file
	// system costs the table no more.
	guardBurst = time.Second
	guardShare = 25
)

var (
	errSlow    = errors.New("no answer in time")
	errRefused = errors.New("earlier calls have not answered")
)

// resolveCached is RESOLVE_CACHED of openat2(2), since Linux 5.12.
const resolveCached = 0x20

// guard runs calls that may block, each on a goroutine of its own. A goroutine
// that is stuck keeps its slot; it ends when the kernel lets it go, so that at
// most guardSlots of them ever exist. The owner's mutex guards it.
type guard struct {
	slots  chan struct{}
	wait   time.Duration // for one call
	budget time.Duration // that may still be waited
	at     time.Time     // when budget was last reckoned
}

func newGuard() *guard {
	return &guard{slots: make(chan struct{}, guardSlots), wait: guardTime, budget: guardBurst, at: time.Now()}
}

// enter takes a slot and returns how to pay for the time it is waited for;
// false when there is no slot or no time left.
func (g *guard) enter() (pay func(), ok bool) {
	began := time.Now()
	g.budget, g.at = min(guardBurst, g.budget+began.Sub(g.at)/guardShare), began
	if g.budget <= 0 {
		return nil, false
	}
	select {
	case g.slots <- struct{}{}:
		return func() { g.budget -= time.Since(began) }, true
	default:
		return nil, false
	}
}

// run calls f. When f does not return in time, late gets its value and the
// answer is errSlow; when f was not called at all, the answer is errRefused.
func run[T any](g *guard, f func() (T, error), late func(T)) (T, error) {
	var zero T
	pay, ok := g.enter()
	if !ok {
		return zero, errRefused
	}
	defer pay()
	type answer struct {
		value T
		err   error
	}
	done, abandoned := make(chan answer), make(chan struct{})
	go func() {
		v, err := f()
		<-g.slots
		select {
		case done <- answer{v, err}:
		case <-abandoned:
			late(v)
		}
	}()
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case a := <-done:
		return a.value, a.err
	case <-timer.C:
		close(abandoned)
		return zero, errSlow
	}
}

// open opens path below dir without waiting: what the kernel has cached at
// once, else with the guard. The caller owns the descriptor.
func (g *guard) open(dir int, path string, how unix.OpenHow) (int, error) {
	cached := how
	cached.Resolve |= resolveCached
	fd, err := unix.Openat2(dir, path, &cached)
	// EINVAL: a kernel before 5.12.
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINVAL) {
		return fd, err
	}
	return withCopy(g, dir, func(own int) (int, error) { return openRetry(own, path, how) }, closeFD)
}

// withCopy runs f with a copy of fd, which the caller may close meanwhile.
func withCopy[T any](g *guard, fd int, f func(own int) (T, error), late func(T)) (T, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := run(g, func() (T, error) {
		defer closeFD(own)
		return f(own)
	}, late)
	if errors.Is(err, errRefused) {
		closeFD(own)
	}
	return v, err
}

// openRetry repeats an open that a rename or mount elsewhere disturbed.
func openRetry(dir int, path string, how unix.OpenHow) (int, error) {
	for range 8 {
		fd, err := unix.Openat2(dir, path, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// read reads at most limit bytes of fd with the guard.
func (g *guard) read(fd, limit int) ([]byte, error) {
	return withCopy(g, fd, func(own int) ([]byte, error) {
		b := make([]byte, limit)
		n, err := readFD(own, b)
		return b[:n], err
	}, func([]byte) {})
}
