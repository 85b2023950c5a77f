package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// helperEnvironment bounds the helper's heap and says nothing of the core's.
var helperEnvironment = []string{"GOMAXPROCS=2", "GOMEMLIMIT=32MiB", "LANG=C", "PATH=/nonexistent"}

// Hard limits of a helper.
const (
	helperFiles = 64
	helperData  = 1 << 29 // bytes; the Go runtime reserves much and uses little
	helperDisk  = 1 << 29 // bytes of a file, of kinds that run programs; others write none
)

// Work is what a helper of one kind does: it reads requests and writes answers
// until in ends or ctx does.
type Work func(ctx context.Context, in io.Reader, out io.Writer) error

// RunHelper is a helper's main. It checks that the broker took every privilege,
// limits itself and does the work of its kind.
func RunHelper(ctx context.Context, args []string, works map[Kind]Work) error {
	if len(args) != 1 {
		return fmt.Errorf("want one kind of helper, got %d arguments", len(args))
	}
	kind := Kind(args[0])
	work := works[kind]
	if !kind.valid() || work == nil {
		return fmt.Errorf("no such kind of helper: %q", args[0])
	}
	if unix.Geteuid() == 0 || unix.Getegid() == 0 {
		return errors.New("a helper is started by the broker only, never as root")
	}
	if err := confined(0); err != nil {
		return err
	}
	name("snitch-" + string(kind))
	disk := uint64(0)
	if kind.executes() {
		disk = helperDisk
	}
	for resource, most := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: disk,
		unix.RLIMIT_NOFILE: helperFiles, unix.RLIMIT_DATA: helperData} {
		if err := limit(resource, most); err != nil {
			return err
		}
	}
	if kind.perUser() {
		// Its user owns the process, and could otherwise trace it and speak to the
		// core in its place.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("forbid tracing: %w", err)
		}
	}
	if !kind.executes() {
		if err := Seal(); err != nil {
			return err
		}
	}
	if kind.readsLittle() {
		if err := readOnly(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if err := work(ctx, os.Stdin, os.Stdout); err != nil {
		return fmt.Errorf("helper %s: %w", kind, err)
	}
	return nil
}

// limit lowers a resource limit for good.
func limit(resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return fmt.Errorf("read resource limit %d: %w", resource, err)
	}
	most = min(most, now.Max)
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("set resource limit %d: %w", resource, err)
	}
	return nil
}

// name is what ps shows for a process that was executed through /proc.
func name(s string) {
	_ = os.WriteFile("/proc/self/comm", []byte(s), 0) // cosmetic
}
