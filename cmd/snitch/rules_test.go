package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"snitch/bpf/bpftest"
	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// swapRules puts version n of a set of two files in place, whole.
func swapRules(dir string, n int) error {
	next, link := filepath.Join(filepath.Dir(dir), "v"+strconv.Itoa(n)), filepath.Join(filepath.Dir(dir), "next")
	err := os.Mkdir(next, 0o755)
	for _, name := range []string{"a", "b"} {
		text := fmt.Sprintf("version: 1\nrules:\n  - {id: v%d.%s, action: allow, process: any}\n", n, name)
		err = errors.Join(err, os.WriteFile(filepath.Join(next, name+".yaml"), []byte(text), 0o644))
	}
	return errors.Join(err, os.Symlink(next, link), os.Rename(link, dir))
}

// TestRulesUnderLoad makes connections while the rules change 50 times a
// second: every row is decided, by a whole set, and is in the record.
func TestRulesUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	group := bpftest.NewCgroup(t)
	dir := filepath.Join(t.TempDir(), "rules")
	if err := swapRules(dir, 0); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, nil, "--rules", dir, "--quiet", "--interval", "1h", "--cgroup", group.Dir())
	const connections, seconds = 3000, 4
	var g errgroup.Group
	g.Go(func() error {
		for n := 1; n <= 50*seconds; n++ {
			if err := swapRules(dir, n); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	g.Go(func() error {
		dial := exec.Command("/proc/self/exe", strconv.Itoa(connections), fmt.Sprint(seconds*time.Second))
		dial.Args[0] = "dial"
		dial.Env = append(os.Environ(), groupVariable+"="+group.Dir())
		if out, err := dial.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	client := control.NewClient(d.state)
	var out, in int
	revisions := map[string]bool{}
	eventually(t, "every row is there and decided", func() bool {
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, in, revisions = 0, 0, map[string]bool{}
		decided := true
		eachRow(t, d.state, func(r *event.Record) {
			switch r.Direction {
			case "out":
				out++
			case "in":
				in++
			}
			decided = decided && r.Would != "undecided"
			revisions[r.Revision] = true
		})
		return decided && out >= connections && in >= connections
	})
	eachRow(t, d.state, func(r *event.Record) {
		if r.Would != "allow" || len(r.Matches) != 2 || strings.TrimSuffix(r.Matches[0], ".a") != strings.TrimSuffix(r.Matches[1], ".b") {
			t.Fatalf("a row decided %s by %q of revision %q", r.Would, r.Matches, r.Revision)
		}
	})
	p := d.status(t).Policy
	t.Logf("%d revisions held for some row; %d decisions by OPA, %d from the cache", len(revisions), p.Evaluated, p.CacheHits)
	if out != connections || in != connections || p.Undecided != 0 || p.Errors != 0 || len(revisions) < 2 {
		t.Errorf("%d out and %d in of %d, by %d revisions; %d never decided, %d errors", out, in, connections, len(revisions), p.Undecided, p.Errors)
	}
	d.signal(t, syscall.SIGINT)
	d.end(t)
}

// eachRow calls f for every row of the record.
func eachRow(t *testing.T, state string, f func(*event.Record)) {
	t.Helper()
	q, err := (&LogOptions{recordOptions: recordOptions{State: state}}).question(time.Now(), nil)
	if err == nil {
		err = stored(t.Context(), filepath.Join(state, schema.FileName), q, func(r *event.Record) error { f(r); return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// dial makes connections to itself, spread over a time: dial N DURATION.
func dial(args []string) int {
	n, err := strconv.Atoi(args[0])
	within, err2 := time.ParseDuration(args[1])
	if err = errors.Join(err, err2, joinGroup()); err == nil {
		err = connectMany(n, within)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitNo
	}
	return exitDone
}

func connectMany(n int, within time.Duration) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	began := time.Now()
	for i := range n {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return err
		}
		s, err := l.Accept()
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		time.Sleep(time.Until(began.Add(within * time.Duration(i) / time.Duration(n))))
	}
	return nil
}
