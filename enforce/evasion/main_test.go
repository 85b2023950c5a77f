package evasion

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// roleEnv makes the test binary a program that does what it is told.
const roleEnv = "SNITCH_EVASION_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		obey()
		return
	}
	os.Exit(m.Run())
}

// order is one line to a program.
type order struct {
	Attempt string
	Part    string // "act", "help" or "probe"
	Place   place
}

// place is what an attempt needs to know of where it runs.
type place struct {
	V4, V6                     netip.AddrPort // of the forbidden peer, which answers
	OpenV4, OpenV6             netip.AddrPort // of the permitted one
	SourceV4, SourceV6, Source netip.Addr     // of this side; Source is a second one
	Dir                        string         // of this attempt's own
	Good                       string         // path of a program that may do what this one may not
	Pid                        int            // of that program
	Server                     string         // path of the peer's network namespace
}

// stdin is where orders come from; an attempt may wait on it for the test.
var stdin = bufio.NewScanner(os.Stdin)

// obey carries orders out and says how each ended: "done ERRNO TEXT".
func obey() {
	runtime.LockOSThread()
	fmt.Println("up")
	for stdin.Scan() {
		var o order
		err := json.Unmarshal(stdin.Bytes(), &o)
		if err == nil {
			err = o.carryOut()
		}
		var errno syscall.Errno
		errors.As(err, &errno)
		text := ""
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Println("done", int(errno), text)
	}
}

func (o *order) carryOut() error {
	if o.Part == "probe" {
		return probe()
	}
	for _, a := range attempts() {
		if a.name != o.Attempt {
			continue
		}
		if o.Part == "help" {
			return a.help(&o.Place)
		}
		return a.act(&o.Place)
	}
	return fmt.Errorf("there is no attempt %q", o.Attempt)
}

// pause lets the test do something in between, and returns when it has.
func pause() error {
	fmt.Println("pause")
	if !stdin.Scan() {
		return errors.New("the test is gone")
	}
	return nil
}

// The rules of every policy let a program find out whether the kernel knows it.
var (
	probeDenied  = netip.MustParseAddrPort("192.0.2.1:9")
	probeAllowed = netip.MustParseAddrPort("192.0.2.2:9")
)

var errUnknown = errors.New("the kernel does not know this program yet")

func probe() error {
	reached := func(to netip.AddrPort) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, sockaddr(to))
	}
	if err := reached(probeDenied); !errors.Is(err, unix.EPERM) {
		return errUnknown
	}
	if err := reached(probeAllowed); errors.Is(err, unix.EPERM) {
		return errUnknown
	}
	return nil
}

func orderLine(o order) (string, error) {
	line, err := json.Marshal(o)
	return string(line) + "\n", err
}
