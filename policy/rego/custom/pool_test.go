package custom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/policy/rule"
)

const (
	good  = "package snitch.custom.good\n\ndeny contains \"mail\" if input.to.port == 25\n"
	loops = "package snitch.custom.loops\n\ndeny contains \"x\" if {\n\tinput.to.port == 99\n\tsome a in numbers.range(1, 3000)\n\tsome b in numbers.range(1, 3000)\n\ta * b == -1\n}\n"
	// eats doubles a text until memory ends, in few steps: no deadline saves it.
	eats = "package snitch.custom.eats\n\ndeny contains \"x\" if {\n\tinput.to.port == 98\n\tcount(concat(\"\", [s | some _ in numbers.range(1, 2000000); s := concat(\"\", [input.process.cmdline, \"y\"])])) == 1\n}\n"
	errs = "package snitch.custom.errs\n\ndeny contains \"x\" if {\n\tinput.to.port == 97\n\tto_number(input.process.cmdline) > 1\n}\n\ndeny contains \"y\" if input.to.port == 97\n"
	odd  = "package snitch.custom.odd\n\nalert contains {\"id\": \"UPPER\"} if input.to.port == 96\n"
)

func newTestPool(t *testing.T, s *spawner, c *clock, deadline time.Duration, sources ...string) *Pool {
	t.Helper()
	var modules []rule.Module
	for _, src := range sources {
		name := strings.TrimPrefix(strings.Fields(src)[1], "snitch.custom.")
		modules = append(modules, module(name+".rego", src))
	}
	p := NewPool(Config{Spawn: s.spawn, Program: compile(t, modules), Modules: modules, Deadline: deadline, Now: c.Now})
	t.Cleanup(p.Close)
	return p
}

func to(port uint16) Input {
	return Input{V: Version, To: Endpoint{Port: &port}, Process: Process{Subject: Subject{Cmdline: strings.Repeat("x", 2000)}}}
}

// summary is ids and degraded packages of each answer.
func summary(answers []Answer) (out []string) {
	for _, a := range answers {
		var words []string
		for _, v := range a.Votes {
			words = append(words, v.ID)
		}
		out = append(out, strings.Join(append(words, a.Degraded...), " "))
	}
	return out
}

func statusOf(t *testing.T, p *Pool, name string) Status {
	t.Helper()
	for _, s := range p.Status() {
		if s.Package == name {
			return s
		}
	}
	t.Fatalf("no status of %s", name)
	return Status{}
}

// TestErrors keeps the votes of others while a package errs, and names it.
func TestErrors(t *testing.T) {
	s, c := &spawner{t: t}, &clock{time.Now()}
	p := newTestPool(t, s, c, time.Second, errs, good, odd)
	got := summary(p.Decide(t.Context(), []Input{to(25), to(97), to(96), to(1)}))
	if diff := cmp.Diff([]string{"custom.good.mail", "errs", "odd", ""}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if st := statusOf(t, p, "errs"); !st.Degraded || !strings.Contains(st.Reason, "errs.rego:5:2: to_number") || st.Asked != 4 || st.Failed != 1 {
		t.Errorf("status of errs: %+v", st)
	}
	if st := statusOf(t, p, "odd"); !strings.Contains(st.Reason, `the id "UPPER"`) {
		t.Errorf("status of odd: %+v", st)
	}
	p.Decide(t.Context(), []Input{to(25)})
	if st := statusOf(t, p, "errs"); st.Degraded || st.Reason != "" || !st.Since.IsZero() {
		t.Errorf("errs did not recover: %+v", st)
	}
	if s.count != 1 {
		t.Errorf("%d workers, want 1", s.count)
	}
}

// TestDeadline stops a package that loops, without the worker's end.
func TestDeadline(t *testing.T) {
	s, c := &spawner{t: t}, &clock{time.Now()}
	p := newTestPool(t, s, c, 100*time.Millisecond, good, loops)
	began := time.Now()
	got := summary(p.Decide(t.Context(), []Input{to(25), to(99), to(25)}))
	if diff := cmp.Diff([]string{"custom.good.mail", "loops", "custom.good.mail loops"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if st := statusOf(t, p, "loops"); !strings.Contains(st.Reason, "deadline") || st.Kills != 0 {
		t.Errorf("status: %+v", st)
	}
	// While it pauses it is not asked; afterwards it is.
	if got := summary(p.Decide(t.Context(), []Input{to(1)})); got[0] != "loops" {
		t.Errorf("paused: %q", got)
	}
	c.now = c.now.Add(backOff)
	if got := summary(p.Decide(t.Context(), []Input{to(1)})); got[0] != "" {
		t.Errorf("after the pause: %q", got)
	}
	if s.count != 1 {
		t.Errorf("%d workers, want 1", s.count)
	}
}

// TestMemory ends the worker of a package that allocates without bound; this
// process and the other packages go on.
func TestMemory(t *testing.T) {
	if raceDetector {
		t.Skip("missing feature: a memory limit that the race detector fits into")
	}
	s, c := &spawner{t: t}, &clock{time.Now()}
	p := newTestPool(t, s, c, time.Minute, eats, good)
	if got := summary(p.Decide(t.Context(), []Input{to(25)})); got[0] != "custom.good.mail" {
		t.Fatalf("before: %q", got)
	}
	got := summary(p.Decide(t.Context(), []Input{to(25), to(98)}))
	if diff := cmp.Diff([]string{"custom.good.mail eats", "eats"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if st := statusOf(t, p, "eats"); st.Kills != 1 || !strings.Contains(st.Reason, "the worker ended while it ran the package") {
		t.Errorf("status: %+v", st)
	}
	if s.count < 3 { // the first, the one that was ended twice asked, the one for good
		t.Errorf("%d workers, want at least 3", s.count)
	}
	for _, w := range s.all[:2] { // it was not ended by us
		peak, ok := w.cmd.ProcessState.SysUsage().(*syscall.Rusage)
		refusals := []string{"cannot allocate memory", "out of memory", "pthread_create failed", "failed to create new OS thread",
			"SIGSEGV: segmentation violation"} // the collector's own allocation was refused
		if !slices.ContainsFunc(refusals, func(r string) bool { return strings.Contains(string(w.stderr.text), r) }) {
			t.Errorf("worker ended otherwise: %s: %s", w.cmd.ProcessState, w.stderr.text)
		}
		if !ok || peak.Maxrss > (WorkerMemory+128<<20)>>10 {
			t.Errorf("worker took %d KiB", peak.Maxrss)
		}
	}
	if got := summary(p.Decide(t.Context(), []Input{to(25)})); got[0] != "custom.good.mail eats" {
		t.Errorf("while paused: %q", got)
	}
	c.now = c.now.Add(backOff)
	if got := summary(p.Decide(t.Context(), []Input{to(25)})); got[0] != "custom.good.mail" {
		t.Errorf("after the pause: %q", got)
	}
}

// TestKilled restarts a worker that somebody else ended, and blames nobody.
func TestKilled(t *testing.T) {
	s, c := &spawner{t: t}, &clock{time.Now()}
	p := newTestPool(t, s, c, time.Second, good)
	p.Decide(t.Context(), []Input{to(25)})
	if err := s.last.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.last.cmd.Wait()
	if got := summary(p.Decide(t.Context(), []Input{to(25)})); got[0] != "custom.good.mail" || s.count != 2 {
		t.Errorf("got %q of worker %d", got, s.count)
	}
	if st := statusOf(t, p, "good"); st.Kills != 0 || st.Degraded {
		t.Errorf("status: %+v", st)
	}
}

// TestHangs gives up a worker that does not answer at all.
func TestHangs(t *testing.T) {
	c := &clock{time.Now()}
	modules := []rule.Module{module("good.rego", good)}
	spawned := 0
	p := NewPool(Config{Program: compile(t, modules), Modules: modules, Deadline: 10 * time.Millisecond, Now: c.Now,
		Spawn: func(context.Context) (io.ReadWriteCloser, error) {
			spawned++
			fromCore, toWorker := io.Pipe()
			fromWorker, toCore := io.Pipe()
			go func() { // answers the load and nothing else
				var req request
				if readFrame(fromCore, &req, maxRequest) == nil {
					_ = writeFrame(toCore, &response{V: Version, Seq: req.Seq}, maxResponse)
				}
				_, _ = io.Copy(io.Discard, fromCore)
			}()
			return pipe{fromWorker, toWorker}, nil
		}})
	defer p.Close()
	got := summary(p.Decide(t.Context(), []Input{to(25)}))
	if got[0] != "good" || !strings.Contains(statusOf(t, p, "good").Reason, "no answer within") || spawned != 1 {
		t.Errorf("got %q, %+v, %d workers", got, p.Status(), spawned)
	}
}

type pipe struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (p pipe) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipe) Close() error                { return errors.Join(p.w.Close(), p.PipeReader.Close()) }

// TestForged refuses answers that no worker of ours gives.
func TestForged(t *testing.T) {
	for name, forge := range map[string]func(req *request) response{
		"other number": func(req *request) response {
			return response{V: Version, Seq: req.Seq + 1, Answers: make([]wireAnswer, 1)}
		},
		"other version": func(req *request) response { return response{V: 2, Seq: req.Seq, Answers: make([]wireAnswer, 1)} },
		"too few":       func(req *request) response { return response{V: Version, Seq: req.Seq} },
		"no such set": func(req *request) response {
			return response{V: Version, Seq: req.Seq, Answers: []wireAnswer{{Votes: []wireVote{{Set: "allow", ID: "x"}}}}}
		},
		"bad id": func(req *request) response {
			return response{V: Version, Seq: req.Seq, Answers: []wireAnswer{{Votes: []wireVote{{Set: "deny", ID: "x\n"}}}}}
		},
		"too many": func(req *request) response {
			return response{V: Version, Seq: req.Seq, Answers: []wireAnswer{{Votes: slices.Repeat([]wireVote{{Set: "deny", ID: "x"}}, maxVotes+1)}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			modules := []rule.Module{module("good.rego", good)}
			c := &clock{time.Now()}
			p := NewPool(Config{Program: compile(t, modules), Modules: modules, Now: c.Now, Spawn: func(context.Context) (io.ReadWriteCloser, error) {
				fromCore, toWorker := io.Pipe()
				fromWorker, toCore := io.Pipe()
				go func() {
					for {
						var req request
						if readFrame(fromCore, &req, maxRequest) != nil {
							return
						}
						res := response{V: Version, Seq: req.Seq}
						if req.Op == opEval {
							res = forge(&req)
						}
						_ = writeFrame(toCore, &res, maxResponse)
					}
				}()
				return pipe{fromWorker, toWorker}, nil
			}})
			defer p.Close()
			if got := summary(p.Decide(t.Context(), []Input{to(25)})); got[0] != "good" {
				t.Errorf("got %q", got)
			}
			if st := statusOf(t, p, "good"); st.Kills != 1 {
				t.Errorf("status: %+v", st)
			}
		})
	}
}

// TestSpawnFails degrades everything and backs off.
func TestSpawnFails(t *testing.T) {
	c, tries := &clock{time.Now()}, 0
	modules := []rule.Module{module("good.rego", good)}
	p := NewPool(Config{Program: compile(t, modules), Modules: modules, Now: c.Now, Spawn: func(context.Context) (io.ReadWriteCloser, error) {
		tries++
		return nil, errors.New("no broker")
	}})
	defer p.Close()
	for range 3 {
		if got := summary(p.Decide(t.Context(), []Input{to(25)})); got[0] != "good" {
			t.Errorf("got %q", got)
		}
	}
	if tries != 1 || !statusOf(t, p, "good").Degraded {
		t.Errorf("%d tries, %+v", tries, p.Status())
	}
	c.now = c.now.Add(backOff)
	p.Decide(t.Context(), []Input{to(25)})
	if tries != 2 {
		t.Errorf("%d tries after the pause, want 2", tries)
	}
}

// BenchmarkPool asks a worker process about one connection, and about many at
// once.
func BenchmarkPool(b *testing.B) {
	for _, n := range []int{1, maxBatch} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			s := &spawner{t: b}
			modules := []rule.Module{module("good.rego", good)}
			program, err := Compile(b.Context(), modules, nil, Options{})
			if err != nil {
				b.Fatal(err)
			}
			p := NewPool(Config{Spawn: s.spawn, Program: program, Modules: modules, Deadline: time.Second})
			defer p.Close()
			inputs := slices.Repeat([]Input{to(25)}, n)
			for b.Loop() {
				if a := p.Decide(b.Context(), inputs); len(a[0].Votes) != 1 {
					b.Fatal(a[0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/connection")
		})
	}
}
