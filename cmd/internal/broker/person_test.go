package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// person is a user id that no package or person of this machine has.
const person, personGroup = 61237, 61238

// logIn makes what a log-in makes: the user's runtime directory.
func logIn(t *testing.T, uid, gid int) {
	t.Helper()
	dir := fmt.Sprintf("%s/%d", runtimeDirs, uid)
	if err := os.MkdirAll(runtimeDirs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func TestHelperIsThePerson(t *testing.T) {
	c := startBroker(t)
	if _, err := c.StartFor(t.Context(), Notify, person); err == nil || !strings.Contains(err.Error(), "not logged in") {
		t.Fatalf("a helper for somebody who is not logged in: %v", err)
	}
	logIn(t, person, personGroup)
	h, err := c.StartFor(t.Context(), Notify, person)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	ids := func(id int) string { return fmt.Sprintf("%d %d %d %d", id, id, id, id) }
	ask(t, h, "alive") // it is past its preparations
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.PID))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Uid": ids(person), "Gid": ids(personGroup), "Groups": "",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2", "Name": "snitch-notify"} {
		if got := field(string(text), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// Not dumpable: its files in /proc are root's, so the person cannot trace it.
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/mem", h.PID), &st); err != nil || st.Uid != 0 {
		t.Errorf("the helper's memory belongs to %d, %v", st.Uid, err)
	}
}

func TestBrokerRefusesUsers(t *testing.T) {
	c := startBroker(t)
	logIn(t, person, 0)
	for uid, want := range map[uint32]string{0: "no person", 1: "no person", 999: "no person", 65534: "no person", 1<<32 - 1: "no person", person: "root's group"} {
		h, err := c.StartFor(t.Context(), Notify, uid)
		if err == nil {
			_ = h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("helper for user %d: got %v, want %q", uid, err, want)
		}
	}
	if _, err := c.Start(t.Context(), Notify); err == nil {
		t.Error("a helper for nobody was started")
	}
	if _, err := c.StartFor(t.Context(), ReverseDNS, person); err == nil || !strings.Contains(err.Error(), "not started for a user") {
		t.Errorf("a helper of another kind was started as a person: %v", err)
	}
	if s := c.Status(); len(s.Pids) != 0 || s.Starts != s.Failed {
		t.Errorf("after refusals: %+v", s)
	}
}

func TestLoggedIn(t *testing.T) {
	const uid = person
	for name, test := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"nobody": {func(string) error { return nil }, "no such file"},
		"a file": {func(dir string) error { return errors.Join(os.WriteFile(dir, nil, 0o600), os.Chown(dir, uid, uid)) }, "no directory"},
		"a link": {func(dir string) error {
			return errors.Join(os.Symlink(filepath.Dir(dir), dir), os.Lchown(dir, uid, uid))
		}, "no directory"},
		"another's": {func(dir string) error { return os.Mkdir(dir, 0o700) }, "belongs to user 0"},
		"shared": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770), os.Chown(dir, uid, uid))
		}, "written to by others"},
		"themselves": {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, uid+1)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := t.TempDir()
			if err := test.make(fmt.Sprintf("%s/%d", dirs, uid)); err != nil {
				t.Fatal(err)
			}
			got, err := loggedIn(dirs, uid)
			if test.want == "" {
				if err != nil || got != (User{uid, uid + 1}) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v, want %q", got, err, test.want)
			}
		})
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := loggedIn(open, uid); err == nil {
		t.Error("a directory of users that everybody may write to is believed")
	}
}
