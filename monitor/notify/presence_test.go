package notify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is a directory with logind's files and people's buses.
type machine struct {
	presence
	t *testing.T
}

func newMachine(t *testing.T, logind bool) machine {
	t.Helper()
	dir := t.TempDir()
	m := machine{presence{filepath.Join(dir, "systemd"), filepath.Join(dir, "user")}, t}
	for _, d := range []string{m.runtime, filepath.Join(m.logind, "sessions"), filepath.Join(m.logind, "seats")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if logind {
		if err := os.WriteFile(filepath.Join(m.logind, "seats", "seat0"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// bus makes a listening socket of a user.
func (m machine) bus(uid int) string {
	m.t.Helper()
	dir := busDir(m.runtime, uint32(uid))
	if err := os.Mkdir(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	for _, path := range []string{dir, filepath.Join(dir, "bus")} {
		if err := os.Chown(path, uid, uid); err != nil {
			m.t.Fatal(err)
		}
	}
	return dir
}

func (m machine) session(id string, uid int, rest string) {
	m.t.Helper()
	text := fmt.Sprintf("# This is private data.\nUID=%d\nUSER=x\n%s", uid, rest)
	if err := os.WriteFile(filepath.Join(m.logind, "sessions", id), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(m.logind, "sessions", id+".ref"), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func TestPeople(t *testing.T) {
	m := newMachine(t, true)
	for uid := 1001; uid <= 1008; uid++ {
		if uid != 1007 {
			m.bus(uid)
		}
	}
	m.bus(120)
	m.session("1", 1001, "TYPE=wayland\nCLASS=user\nSTATE=active\nSEAT=seat0\n")
	m.session("2", 1002, "TYPE=x11\nCLASS=user\nSTATE=online\n")
	m.session("3", 1003, "TYPE=tty\nCLASS=user\nSTATE=active\nSEAT=seat0\n") // startx
	m.session("4", 1004, "TYPE=tty\nCLASS=user\nSTATE=active\nREMOTE=1\n")   // ssh
	m.session("5", 120, "TYPE=wayland\nCLASS=greeter\nSTATE=active\nSEAT=seat0\n")
	m.session("6", 1005, "TYPE=x11\nCLASS=user\nSTATE=closing\n")
	m.session("7", 1006, "TYPE=unspecified\nCLASS=background\nSTATE=active\n") // cron
	m.session("8", 1007, "TYPE=x11\nCLASS=user\nSTATE=active\n")               // no bus
	m.session("9", 0, "TYPE=x11\nCLASS=user\nSTATE=active\n")
	got, err := m.people()
	if want := []uint32{1001, 1002, 1003}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestPeopleWithoutLogind(t *testing.T) {
	m := newMachine(t, false)
	m.bus(1001)
	m.bus(120)
	if got, err := m.people(); err != nil || !slices.Equal(got, []uint32{1001}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := (presence{"/nonexistent", "/nonexistent"}).people(); err != nil || len(got) != 0 {
		t.Errorf("a machine without either: %v, %v", got, err)
	}
}

// TestBusTricks: a socket of somebody else, or a way to one, is no bus.
func TestBusTricks(t *testing.T) {
	m := newMachine(t, false)
	victim := m.bus(1001)
	for name, trick := range map[string]func(dir string) error{
		"a link to a bus": func(dir string) error { return os.Symlink(filepath.Join(victim, "bus"), filepath.Join(dir, "bus")) },
		"a file":          func(dir string) error { return os.WriteFile(filepath.Join(dir, "bus"), nil, 0o600) },
		"another's bus":   func(dir string) error { return os.Link(filepath.Join(victim, "bus"), filepath.Join(dir, "bus")) },
		"nothing":         func(string) error { return nil },
	} {
		dir := busDir(m.runtime, 1002)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 1002, 1002); err != nil {
			t.Fatal(err)
		}
		if err := trick(dir); err != nil {
			t.Fatal(err)
		}
		_ = os.Lchown(filepath.Join(dir, "bus"), 1002, 1002)
		if name == "another's bus" {
			_ = os.Chown(filepath.Join(victim, "bus"), 1001, 1001)
		}
		if err := checkBus(dir, 1002); err == nil {
			t.Errorf("%s is taken for a bus", name)
		}
		os.RemoveAll(dir)
	}
	if err := os.Symlink(victim, busDir(m.runtime, 1003)); err != nil {
		t.Fatal(err)
	}
	if checkBus(busDir(m.runtime, 1003), 1003) == nil || checkBus(busDir(m.runtime, 1003), 1001) == nil {
		t.Error("a link to a directory is taken for one")
	}
	if err := os.Chmod(victim, 0o777); err != nil {
		t.Fatal(err)
	}
	if checkBus(victim, 1001) == nil {
		t.Error("a directory that everybody may write to is believed")
	}
}

func FuzzSession(f *testing.F) {
	f.Add("UID=1000\nTYPE=wayland\nCLASS=user\nSTATE=active\n")
	f.Add("UID=99999999999\nTYPE=tty\nSEAT=seat0\nCLASS=user")
	f.Fuzz(func(_ *testing.T, text string) { parseSession(text) })
}

func FuzzSaid(f *testing.F) {
	f.Add([]byte(`{"event":"action","key":4,"action":"why"}`))
	f.Add([]byte(`{"event":"shown","key":4} {}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var s said
		if decodeLine(line, &s) != nil {
			return
		}
		if want := parseWant(s.Action); want != WantInvalid && want != WantDetails && want != WantWhy {
			t.Errorf("%q wants %d", line, want)
		}
	})
}
