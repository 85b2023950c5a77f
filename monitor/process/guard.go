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
	// guardMost is how long one call is waited for that does not wait itself: a
	// machine that is too busy to run it makes no path unverified.
	guardMost = time.Second
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
	most   time.Duration // for one that is kept from running
	budget time.Duration // that may still be waited
	at     time.Time     // when budget was last reckoned
}

func newGuard() *guard {
	return &guard{slots: make(chan struct{}, guardSlots), wait: guardTime, most: guardMost, budget: guardBurst, at: time.Now()}
}

// enter takes a slot; false when there is none or no time left.
func (g *guard) enter() bool {
	now := time.Now()
	g.budget, g.at = min(guardBurst, g.budget+now.Sub(g.at)/guardShare), now
	if g.budget <= 0 {
		return false
	}
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// returned is what a call returned and what it cost.
type returned[T any] struct {
	value T
	err   error
	cost  time.Duration
}

// run calls f. When f does not return in time, late gets its value and the
// answer is errSlow; when f was not called at all, the answer is errRefused.
func run[T any](g *guard, f func() (T, error), late func(T)) (T, error) {
	var zero T
	if !g.enter() {
		return zero, errRefused
	}
	began := time.Now()
	var e effort
	done, abandoned := make(chan returned[T]), make(chan struct{})
	go func() {
		var a returned[T]
		a.cost = e.of(func() { a.value, a.err = f() })
		<-g.slots
		select {
		case done <- a:
		case <-abandoned:
			late(a.value)
		}
	}()
	for timer := time.NewTimer(g.wait); ; timer.Reset(g.wait) {
		select {
		case a := <-done:
			timer.Stop()
			g.budget -= a.cost
			return a.value, a.err
		case <-timer.C:
		}
		waits := e.waits()
		select {
		case a := <-done: // it came as late as this goroutine, or while it looked
			g.budget -= a.cost
			return a.value, a.err
		default:
		}
		if took := time.Since(began); waits || took > g.most {
			close(abandoned)
			g.budget -= took
			return zero, errSlow
		}
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
