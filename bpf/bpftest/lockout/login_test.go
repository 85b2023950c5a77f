//go:build vm

package lockout

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// roleEnv makes this program the SSH server of the machine: one that answers
// lines instead of speaking SSH. Who is behind a connection, and who its child
// is, snitch finds out as with the real one.
const roleEnv = "SNITCH_LOCKOUT_SERVER"

const loginPort = 22

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		fmt.Fprintln(os.Stderr, "sshd:", serveLogins())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func serveLogins() error {
	l, err := net.Listen("tcp4", netip.AddrPortFrom(machine, loginPort).String())
	if err != nil {
		return err
	}
	fmt.Println("listens")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				if _, err := io.WriteString(c, obey(strings.Fields(lines.Text()))+"\n"); err != nil {
					return
				}
			}
		}()
	}
}

// obey runs a command; its answer is one line.
func obey(words []string) string {
	if len(words) < 2 || words[0] == "echo" {
		return strings.Join(words, " ")
	}
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	return fmt.Sprintf("%v %q", err, out)
}

// startLogins runs the server, under the name that it has on real machines.
func startLogins(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sshd := filepath.Join(t.TempDir(), "sshd")
	if err := os.Link(self, sshd); err != nil {
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(sshd, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(sshd)
	cmd.Env = append(os.Environ(), roleEnv+"=1")
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	if !bufio.NewScanner(said).Scan() {
		t.Fatal("the server does not start")
	}
}
