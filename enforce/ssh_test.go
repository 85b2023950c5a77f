package enforce

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMain makes the test binary a process below an SSH server when it is
// started under the name of one.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "sshd" && len(os.Args) == 2 {
		os.Exit(serveLogin(os.Args[1]))
	}
	os.Exit(m.Run())
}

// serveLogin is a server of one login: it takes a connection, starts the
// command that the operator types, and ends when standard input does.
func serveLogin(network string) int {
	l, err := net.Listen(network, map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(l.Addr())
	conn, err := l.Accept()
	if err != nil {
		return 1
	}
	defer conn.Close()
	shell := exec.Command("/bin/sh", "-c", "echo $$; cat")
	shell.Stdin, shell.Stdout = os.Stdin, os.Stdout
	if err := shell.Run(); err != nil {
		return 1
	}
	return 0
}

// TestFindSessions finds the connection of a real server above a real process,
// in a real /proc.
func TestFindSessions(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			conn, shell := login(t, network, "sshd")
			got := FindSessions("/proc", shell)
			local := netip.MustParseAddrPort(conn.RemoteAddr().String())
			want := []Session{{Peer: netip.MustParseAddrPort(conn.LocalAddr().String()).Addr(), Local: local}}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// login starts a server under a name and logs in. It returns the connection and
// the pid of the shell.
func login(t *testing.T, network, name string) (net.Conn, int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(t.TempDir(), name)
	if err := os.Link(self, server); err != nil {
		if err := copyFile(self, server); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(server, network)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		_ = cmd.Wait() // in whatever way
	})
	var addr string
	var pid int
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, &pid); err != nil {
		t.Fatal(err)
	}
	return conn, pid
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o700)
}

const (
	tableHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	// 192.0.2.7:22 from 203.0.113.9:50000, established, of root.
	established = "   0: 070200C0:0016 097100CB:C350 01 00000000:00000000 02:00000000 00000000     0        0 777 2 0 20 4 30 10 -1\n"
)

// fakeProc writes what FindSessions reads of processes 1, 10 (the server), 20
// (a multiplexer) and 30 (who asks).
func fakeProc(t *testing.T, change func(files map[string]string)) string {
	t.Helper()
	files := map[string]string{
		"30/status": "Name:\tsnitch\nPPid:\t20\nUid:\t0\t0\t0\t0\n", "30/environ": "A=b\x00SSH_CONNECTION=203.0.113.9 50000 192.0.2.7 22\x00",
		"20/status": "Name:\ttmux: server\nPPid:\t10\nUid:\t1000\t1000\t1000\t1000\n",
		"10/status": "Name:\tsshd-session\nPPid:\t1\nUid:\t0\t0\t0\t0\n", "10/fd/4": "socket:[777]", "10/fd/5": "/dev/null",
		"1/status": "Name:\tsystemd\nPPid:\t0\nUid:\t0\t0\t0\t0\n",
	}
	for _, pid := range []string{"10", "20", "30"} {
		files[pid+"/net/tcp"], files[pid+"/net/tcp6"] = tableHead+established, tableHead
	}
	change(files)
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if strings.Contains(name, "/fd/") {
			err = os.Symlink(text, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhichSessionsCount(t *testing.T) {
	both := func(f map[string]string, old, now string) {
		for name, text := range f {
			f[name] = strings.ReplaceAll(text, old, now)
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		found  bool
	}{
		"both ways, once":     {func(map[string]string) {}, true},
		"by the server":       {func(f map[string]string) { delete(f, "30/environ") }, true},
		"by the environment":  {func(f map[string]string) { delete(f, "10/fd/4") }, true},
		"a server of no name": {func(f map[string]string) { delete(f, "30/environ"); both(f, "sshd-session", "sshdx") }, false},
		"a server that is not root's": {func(f map[string]string) {
			delete(f, "30/environ")
			f["10/status"] = "Name:\tsshd\nPPid:\t1\nUid:\t0\t1000\t1000\t1000\n"
		}, false},
		"a closed connection":            {func(f map[string]string) { both(f, " 01 ", " 08 ") }, false},
		"a connection of another":        {func(f map[string]string) { delete(f, "10/fd/4"); both(f, "     0        0 777", "  1000        0 777") }, false},
		"an environment that lies":       {func(f map[string]string) { delete(f, "10/fd/4"); both(f, "203.0.113.9 50000", "198.51.100.1 50000") }, false},
		"an environment full of garbage": {func(f map[string]string) { delete(f, "10/fd/4"); both(f, "203.0.113.9 50000", "\xff -1") }, false},
		"a process that is its parent":   {func(f map[string]string) { delete(f, "30/environ"); both(f, "PPid:\t20", "PPid:\t30") }, false},
		"a table full of garbage":        {func(f map[string]string) { both(f, "070200C0:0016", "07:zz") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := FindSessions(fakeProc(t, c.change), 30)
			if c.found && (len(got) != 1 || got[0] != testSession) || !c.found && len(got) != 0 {
				t.Errorf("got %v", got)
			}
		})
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add(established)
	f.Add("   0: 00000000000000000000000001000000:0016 0000000000000000FFFF00000100007F:C350 01 0 0 0 0 0 9")
	f.Fuzz(func(t *testing.T, line string) {
		s, ok := parseSocket(line)
		if ok && s.session().valid() && (s.session().Local.Port() == 0 || s.inode == 0) {
			t.Fatalf("%q gave %+v", line, s)
		}
		if local, peer, ok := parseConnection(line); ok && (!local.IsValid() || !peer.IsValid()) {
			t.Fatalf("%q gave %v %v", line, local, peer)
		}
	})
}
