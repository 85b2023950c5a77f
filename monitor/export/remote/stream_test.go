package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// Words with which this test binary is a daemon or a helper.
const (
	wordDaemon = "SNITCH_TEST_DAEMON" // state directory
	wordHelper = "SNITCH_TEST_HELPER"
	wordAccess = "SNITCH_TEST_ACCESS" // JSON
	wordDrain  = "SNITCH_TEST_DRAIN"  // write nothing more, end when nothing waits
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(wordHelper) != "":
		err = Work(context.Background(), os.Stdin, os.Stdout)
	case os.Getenv(wordDaemon) != "":
		err = daemon(os.Getenv(wordDaemon))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// daemon records at full speed and forwards through a helper.
func daemon(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var access Access
	if err := json.Unmarshal([]byte(os.Getenv(wordAccess)), &access); err != nil {
		return err
	}
	var forwarder *Forwarder
	s, err := store.Open(ctx, store.Config{Dir: dir, Group: -1, Outbox: &store.Outbox{Pack: NewPacker("host-1"), Ready: func() { forwarder.Wake() }}})
	if err != nil {
		return err
	}
	helpers := &helpers{}
	forwarder = NewForwarder(access, Deps{Outbox: s, Talk: helpers.talk})
	var wg sync.WaitGroup
	wg.Go(func() { _ = forwarder.Run(ctx) })
	if os.Getenv(wordDrain) == "" {
		return record(ctx, s)
	}
	for s.Stats().Outbox.Parcels > 0 {
		time.Sleep(20 * time.Millisecond)
		if p := forwarder.Stats().Problem; p != "" {
			fmt.Println("problem", p)
		}
	}
	cancel()
	wg.Wait()
	return s.Close()
}

// record opens connections, lets them grow over several commits, and closes
// them; it says so after each commit.
func record(ctx context.Context, s *store.Store) error {
	p := testProcess(1)
	for n := uint64(0); ; n++ {
		b := store.Batch{Time: time.Now()}
		for i := range uint64(40) {
			id := n*20 + i + 1 // half of them were there before
			c := testConnection(id, p, id+n, 2*id+n)
			c.Closed = i < 20
			b.Connections = append(b.Connections, c)
		}
		b.Execs = []event.ExecSeen{{Time: b.Time, Process: p}}
		b.Losses = []event.Loss{{Time: b.Time, Cause: event.LossHash, Count: 1}}
		s.Append(b)
		if err := s.Flush(ctx); err != nil {
			return err
		}
		fmt.Println("commit", n)
		time.Sleep(5 * time.Millisecond)
	}
}

// helpers starts a helper when there is none. One goroutine uses it.
type helpers struct {
	conn net.Conn
	cmd  *exec.Cmd
}

func (h *helpers) talk(_ context.Context, use func(net.Conn) error) error {
	if h.conn == nil {
		if err := h.start(); err != nil {
			return err
		}
	}
	err := use(h.conn)
	if err != nil {
		_ = h.conn.Close()
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
		h.conn = nil
	}
	return err
}

func (h *helpers) start() error {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Env = []string{wordHelper + "=1"}
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = theirs, theirs, os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		return err
	}
	fmt.Println("helper", h.cmd.Process.Pid)
	h.conn, err = net.FileConn(ours)
	return err
}

// testStream kills the server, the helper and the daemon in mid-stream, again
// and again: at the end both records agree to the byte.
func testStream(t *testing.T, s *site) {
	s.schema()
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	deaths := map[string]int{}
	for round := range 6 {
		d := startDaemon(t, s, dir, false)
		d.commits(t, 5+random.IntN(30))
		switch round % 3 {
		case 0: // the server dies, stays away, and comes back
			s.Kill(t)
			d.commits(t, 20)
			s.Server.Start(t)
			d.commits(t, 20)
			deaths["server"]++
		case 1: // the helper dies in the middle of something
			if d.killHelper() {
				deaths["helper"]++
			}
			d.commits(t, 20)
		}
		d.kill(t) // with all that it has not forwarded
		deaths["daemon"]++
	}
	startDaemon(t, s, dir, true).end(t)
	s.agree(t, dir)
	t.Logf("deaths: %v; batches %d", deaths, s.number("SELECT count(*) FROM snitch_batch"))
}

// agree compares the record of the server with the one in dir.
func (s *site) agree(t *testing.T, dir string) {
	t.Helper()
	local := openLocal(t, dir)
	for _, c := range []struct{ here, there string }{
		{"SELECT count(*) FROM connection", "SELECT count(*) FROM snitch_connection WHERE first"},
		{"SELECT sum(inserted + updated) FROM batch", "SELECT count(*) FROM snitch_connection"},
		{"SELECT sum(sent) FROM connection", "SELECT CAST(sum(sent) AS DECIMAL(20)) FROM snitch_connection"},
		{"SELECT sum(received) FROM connection", "SELECT CAST(sum(received) AS DECIMAL(20)) FROM snitch_connection"},
		{"SELECT count(*) FROM connection WHERE closed", "SELECT count(*) FROM snitch_connection WHERE closed"},
		{"SELECT count(*) FROM exec_log", "SELECT count(*) FROM snitch_exec"},
		{"SELECT sum(count) FROM loss", "SELECT CAST(sum(amount) AS DECIMAL(20)) FROM snitch_loss"},
		{"SELECT count(*) FROM run WHERE id IN (SELECT run FROM connection)", "SELECT count(DISTINCT run) FROM snitch_connection"},
	} {
		var here int64
		if err := local.QueryRowContext(t.Context(), c.here).Scan(&here); err != nil {
			t.Fatalf("%s: %v", c.here, err)
		}
		if there := s.number(c.there); here != there || here == 0 {
			t.Errorf("%s = %d, %s = %d", c.here, here, c.there, there)
		}
	}
}

// process is a daemon in a process of its own.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner

	helper int
}

func startDaemon(t *testing.T, s *site, dir string, drain bool) *process {
	t.Helper()
	access, err := json.Marshal(s.writer())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{wordDaemon + "=" + dir, wordAccess + "=" + string(access)}
	if drain {
		cmd.Env = append(cmd.Env, wordDrain+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &process{cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return d
}

// commits reads what the daemon says until it committed n times.
func (d *process) commits(t *testing.T, n int) {
	t.Helper()
	for n > 0 {
		if !d.lines.Scan() {
			t.Fatal("the daemon ended")
		}
		word, rest, _ := strings.Cut(d.lines.Text(), " ")
		switch word {
		case "commit":
			n--
		case "helper":
			d.helper, _ = strconv.Atoi(rest)
		}
	}
}

func (d *process) killHelper() bool {
	return d.helper != 0 && syscall.Kill(d.helper, syscall.SIGKILL) == nil
}

func (d *process) kill(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for d.lines.Scan() { // it may have said more
	}
	_ = d.cmd.Wait() // killed
}

// end waits for a daemon that drains.
func (d *process) end(t *testing.T) {
	t.Helper()
	timer := time.AfterFunc(within, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	var last string
	for d.lines.Scan() {
		last = d.lines.Text()
	}
	if err := d.cmd.Wait(); err != nil {
		t.Fatalf("the daemon did not drain: %v (%s)", err, last)
	}
}

// testFullOutbox: a server that is away for too long costs the oldest rows, and
// what it costs is counted: here, there, and in both records.
func testFullOutbox(t *testing.T, s *site) {
	s.schema()
	dir := t.TempDir()
	var lost uint64
	st, err := store.Open(t.Context(), store.Config{Dir: dir, Group: -1, Outbox: &store.Outbox{Pack: NewPacker("h"), MaxBytes: 20_000},
		Loss: func(cause event.LossCause, n uint64) {
			if cause == event.LossRemote {
				lost += n
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	p := testProcess(1)
	for n := range uint64(40) {
		b := store.Batch{Time: time.Now()}
		for i := range uint64(20) {
			b.Connections = append(b.Connections, testConnection(n*20+i+1, p, 1, 1))
		}
		st.Append(b)
		if err := st.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waits := st.Stats().Outbox
	if lost == 0 || waits.Dropped != lost || waits.Bytes > 60_000 || waits.Parcels == 0 {
		t.Fatalf("lost %d, outbox %+v", lost, waits)
	}
	db := s.open(s.writer())
	for {
		parcel, ok, err := st.NextParcel(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		full, err := unpack(parcel.Key, parcel.Data)
		if err != nil {
			t.Fatal(err)
		}
		deliver(t, db, true, full)
		if err := st.ParcelArrived(&parcel); err != nil {
			t.Fatal(err)
		}
	}
	const rows = 40 * 20
	arrived := s.number("SELECT count(*) FROM snitch_connection")
	told := s.number("SELECT CAST(coalesce(sum(amount), 0) AS DECIMAL(20)) FROM snitch_loss WHERE cause = 'remote'")
	lossRows := s.number("SELECT count(*) FROM snitch_loss")
	if uint64(arrived)+lost < rows || uint64(arrived) > rows-1 || told == 0 || lossRows == 0 {
		t.Errorf("%d rows: %d arrived, %d lost, %d told of in %d rows", rows, arrived, lost, told, lossRows)
	}
	var here int64
	if err := openLocal(t, dir).QueryRow("SELECT sum(count) FROM loss WHERE cause = 20").Scan(&here); err != nil || uint64(here) != lost {
		t.Errorf("the record here tells of %d lost rows, want %d: %v", here, lost, err)
	}
	if got := st.Stats().Outbox; got.Parcels != 0 || got.Rows != 0 || got.Bytes != 0 || !got.Oldest.IsZero() {
		t.Errorf("the outbox is not empty: %+v", got)
	}
}
