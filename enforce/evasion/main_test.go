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
	Part    string // "act" and "help" are the attempt's, the others see carryOut
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
	Held                       string         // directory whose programs are held at exec
	MAC                        string         // of the peer
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
	switch o.Part {
	case "probe":
		return probe()
	case "send":
		return send(&o.Place)
	case "send-if-bad":
		if isGood() {
			return errors.New(goodMark)
		}
		return send(&o.Place)
	case "send-at-once":
		return sendNow(&o.Place)
	case "connect-and-pass":
		return connectAndPass(&o.Place)
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

// The rules of every policy let a program find out whether the kernel knows it:
// one of these addresses answers nothing, and nothing listens at the other.
var (
	probeDenied  = netip.MustParseAddrPort("10.77.0.66:9")
	probeAllowed = netip.MustParseAddrPort("10.77.0.2:9")
)

var errUnknown = errors.New("the kernel does not know this program yet")

func probe() error {
	refused := func(to netip.AddrPort) bool {
		err := with(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error { return unix.Sendto(fd, []byte("x"), 0, sockaddr(to)) })
		return errors.Is(err, unix.EPERM)
	}
	if !refused(probeDenied) || refused(probeAllowed) {
		return errUnknown
	}
	return nil
}

func orderLine(o order) (string, error) {
	line, err := json.Marshal(o)
	return string(line) + "\n", err
}
