package fleet

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// sshServer is OpenSSH's server, a process for each connection. Where it listens is
// the answer; known is its line in a file of known hosts.
func sshServer(t *testing.T, r *repository, authorized string) (address, known string) {
	t.Helper()
	key, _ := r.sshKey("host")
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	const separation = "/run/sshd" // empty, and compiled in
	if err := os.Mkdir(separation, 0o755); err == nil {
		t.Cleanup(func() { _ = os.Remove(separation) }) // another server may have come to use it
	}
	config := write(t, filepath.Join(r.home, "sshd_config"), "HostKey "+key+"\nAuthorizedKeysFile "+authorized+
		"\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", 0o600)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serveSSH(t, conn.(*net.TCPConn), config) })
		}
	})
	port := l.Addr().(*net.TCPAddr).Port
	return l.Addr().String(), "[127.0.0.1]:" + strconv.Itoa(port) + " " + string(public)
}

func serveSSH(t *testing.T, conn *net.TCPConn, config string) {
	f, err := conn.File()
	if err == nil {
		cmd := exec.CommandContext(t.Context(), "/usr/sbin/sshd", "-i", "-e", "-f", config)
		cmd.Stdin, cmd.Stdout = f, f
		_ = cmd.Run() // a client that is refused ends it with an error
	}
	if err := errors.Join(err, f.Close(), conn.Close()); err != nil {
		t.Error(err)
	}
}

// TestGitSSH fetches from a real server with a key, and only from the one that is
// known.
func TestGitSSH(t *testing.T) {
	r := newRepository(t)
	key, signer := r.sshKey("mine")
	other, _ := r.sshKey("other")
	r.sign("ssh", key)
	head := r.commit("first", "-S")
	address, known := sshServer(t, r, key+".pub")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	good := Config{Kind: KindGit, URL: "ssh://" + me.Username + "@" + address + r.dir, Branch: "main", Path: "rules", SSHKey: key,
		KnownHosts: write(t, filepath.Join(r.home, "known_hosts"), known, 0o644), Keys: write(t, filepath.Join(r.home, "signers"), signer, 0o644)}
	s := newSource(t, good)
	looks(t, s, "")
	if in := s.State().Current; in == nil || in.Revision != head {
		t.Errorf("in use is %+v, want %s", in, head)
	}
	otherPublic, err := os.ReadFile(other + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(known, " ")
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"another host": {func(c *Config) {
			c.KnownHosts = write(t, filepath.Join(r.home, "wrong_hosts"), host+" "+string(otherPublic), 0o644)
		}, "Host key verification failed"},
		"unknown host":  {func(c *Config) { c.KnownHosts = write(t, filepath.Join(r.home, "no_hosts"), "", 0o644) }, "Host key verification failed"},
		"another key":   {func(c *Config) { c.SSHKey = other }, "Permission denied (publickey)"},
		"no repository": {func(c *Config) { c.URL += "-none" }, "does not appear to be a git repository"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			looks(t, newSource(t, cfg), c.want)
		})
	}
}
