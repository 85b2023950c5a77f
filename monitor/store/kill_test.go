package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// killedDir is set in the environment of the child that TestKill kills.
const killedDir = "SNITCH_TEST_KILLED_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		if err := appendForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	before := openDescriptors()
	code := m.Run()
	if after := openDescriptors(); code == 0 && after > before+2 { // the runtime's poller has two
		fmt.Fprintf(os.Stderr, "%d descriptors are open, %d were before the tests\n", after, before)
		code = 1
	}
	os.Exit(code)
}

func openDescriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// appendForEver writes batches at full speed, new connections and changes to
// old ones, with retention and rollups at work, and says so after each commit.
func appendForEver(dir string) error {
	var clock time.Time
	s, err := Open(context.Background(), Config{Dir: dir, Group: -1, Now: func() time.Time { return clock }})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		clock = base.Add(time.Duration(n) * 20 * time.Minute)
		b := Batch{Time: clock}
		for i := range 50 {
			id := uint64(n*25 + i + 1) // half of them were there before
			c := connection(id, base.Add(time.Duration(id)*time.Second), uint64(n*3), uint64(n*5))
			c.Closed = i < 25
			b.Connections = append(b.Connections, c)
		}
		b.Execs = []event.ExecSeen{{Time: clock, Process: process(n)}}
		b.Losses = []event.Loss{{Time: clock, Cause: event.LossHash, Count: 1}}
		c := &b.Connections[0]
		c.Novelty = s.Novelty(c)
		b.Alerts = []event.Alert{event.NewAlert(event.AlertRule, fmt.Sprint(n%3), event.ActionAlert, "", clock, c)}
		b.Rules = []event.RuleCount{{Rule: fmt.Sprint(n % 5), Hits: 1, Last: clock}}
		if err := s.PutRuleSet(fmt.Sprint(n%7), []RuleFile{{"a", fmt.Append(nil, n%7)}, {"b", []byte("same")}}); err != nil {
			return err
		}
		s.Append(b)
		if err := s.Flush(context.Background()); err != nil {
			return err
		}
		s.writeMu.Lock()
		_, err := s.w.foldNext(clock)
		s.writeMu.Unlock()
		if err != nil {
			return err
		}
		fmt.Println(n + 1)
	}
}

// TestKill kills a writer at random moments: the database must open and hold
// whole batches, and at least those that were said to be committed.
func TestKill(t *testing.T) {
	runs := 200
	if testing.Short() {
		runs = 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var committed, total int64
	dir := t.TempDir()
	for run := range runs {
		if run%10 == 0 {
			dir = t.TempDir() // ten kills in a row hit the same file
			committed = 0
		}
		// Some die while they open the file, most while they write.
		said := killOne(t, dir, random.IntN(8) == 0, time.Duration(random.IntN(30_000))*time.Microsecond)
		path := filepath.Join(dir, schema.FileName)
		if _, err := os.Stat(path); err != nil {
			continue // killed before there was a file
		}
		found := inspectKilled(t, path)
		if committed += said; found < committed {
			t.Fatalf("run %d: %d batches in the file, %d were committed", run, found, committed)
		}
		total += found - committed + said
		committed = found // the last one may have been committed unsaid
		if leftovers, _ := filepath.Glob(path + ".corrupt-*"); len(leftovers) > 0 {
			t.Fatalf("run %d: the database was taken for corrupt: %v", run, leftovers)
		}
		if t.Failed() {
			t.Fatalf("run %d", run)
		}
	}
	t.Logf("%d kills, %d batches committed", runs, total)
	if total < int64(runs)/2 { // on a busy machine those that die after a commit have one each
		t.Errorf("only %d batches in %d runs: the kills came too early to prove anything", total, runs)
	}
}

// killOne starts a writer, kills it a while after its start, or after its first
// commit, and returns how many commits it reported.
func killOne(t *testing.T, dir string, early bool, after time.Duration) (said int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill() }
	if early {
		defer time.AfterFunc(after, kill).Stop()
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said == 0 && !early {
			defer time.AfterFunc(after, kill).Stop()
		}
		if said, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Fatalf("child says %q", lines.Text())
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
	return said
}

// inspectKilled checks the file and returns the number of its batches.
func inspectKilled(t *testing.T, path string) int64 {
	t.Helper()
	c, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	if version, err := identity(c); err != nil || version == 0 {
		if err != nil {
			t.Error(err)
		}
		return 0 // killed before the schema was committed
	}
	if err := soundConn(c); err != nil {
		t.Error(err)
	}
	if err := whole(c); err != nil {
		t.Error(err)
	}
	for _, res := range []string{"1", "2"} {
		n, _, err := c.number(`SELECT (SELECT ifnull(sum(sent), 0) FROM rollup WHERE dim = 1 AND res = 0
			AND bucket < (SELECT folded FROM rollup_state WHERE res = ` + res + `)) - (SELECT ifnull(sum(sent), 0) FROM rollup WHERE dim = 1 AND res = ` + res + `)`)
		if err != nil || n != 0 {
			t.Errorf("sums of resolution %s differ by %d: %v", res, n, err)
		}
	}
	for _, sql := range []string{
		"SELECT (SELECT ifnull(sum(count), 0) FROM alert) - (SELECT count(*) FROM batch)",
		"SELECT (SELECT ifnull(sum(hits), 0) FROM rule_count) - (SELECT count(*) FROM batch)",
		"SELECT count(*) FROM ruleset s WHERE (SELECT count(*) FROM ruleset_file WHERE ruleset = s.id) <> 2",
		`SELECT (SELECT count(DISTINCT d.name) FROM connection c JOIN list l ON l.id = c.novelty JOIN domain d ON d.id = c.domain)
			- (SELECT count(*) FROM known WHERE kind = 4)`, // each destination was new in one row
	} {
		if n, _, err := c.number(sql); err != nil || n != 0 {
			t.Errorf("%s = %d, want 0 (%v)", sql, n, err)
		}
	}
	n, _, err := c.number("SELECT count(*) FROM batch")
	if err != nil {
		t.Error(err)
	}
	return n
}
