package enforce

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// TestPrecedence: panic beats --mode beats enforce on/off beats the
// configuration.
func TestPrecedence(t *testing.T) {
	for name, c := range map[string]struct {
		config, flag event.Mode
		saved        string
		panics       bool
		mode         event.Mode
		source       Source
	}{
		"nothing":              {mode: event.ModeAudit, source: SourceConfig},
		"configured":           {config: event.ModeEnforce, mode: event.ModeEnforce, source: SourceConfig},
		"turned off":           {config: event.ModeEnforce, saved: "audit", mode: event.ModeAudit, source: SourceSaved},
		"turned on":            {saved: "enforce", mode: event.ModeEnforce, source: SourceSaved},
		"flag beats on":        {flag: event.ModeAudit, saved: "enforce", mode: event.ModeAudit, source: SourceFlag},
		"flag beats all":       {config: event.ModeAudit, flag: event.ModeEnforce, saved: "audit", mode: event.ModeEnforce, source: SourceFlag},
		"panic beats the flag": {config: event.ModeEnforce, flag: event.ModeEnforce, panics: true, mode: event.ModeAudit, source: SourcePanic},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, allowSome())
			h.cfg = Config{Mode: c.config, Flag: c.flag}
			if c.saved != "" {
				if err := (Saved{Mode: c.saved}).save(h.dir); err != nil {
					t.Fatal(err)
				}
			}
			if c.panics {
				if err := MarkPanic(h.dir); err != nil {
					t.Fatal(err)
				}
			}
			r := h.mustStart().Status()
			if r.Mode != c.mode || r.Source != c.source || h.kernel.denies() != (c.mode == event.ModeEnforce) {
				t.Errorf("got %s by %s, denies %t", r.Mode, r.Source, h.kernel.denies())
			}
		})
	}
}

func TestFlagIsNotBeaten(t *testing.T) {
	ctx := context.Background()
	h := newHost(t, allowSome())
	h.cfg.Flag = event.ModeAudit
	if err := h.mustStart().On(ctx, Order{}); !errors.Is(err, ErrFlag) {
		t.Errorf("on: %v", err)
	}
	h.cfg.Flag = event.ModeEnforce
	c := h.mustStart()
	if err := c.Off(ctx, "test"); !errors.Is(err, ErrFlag) || !h.kernel.denies() {
		t.Errorf("off: %v", err)
	}
	if err := c.Panic(ctx, "test"); err != nil || h.kernel.denies() {
		t.Errorf("panic: %v, denies %t", err, h.kernel.denies())
	}
	if h.mustStart(); h.kernel.denies() {
		t.Error("the next start with the same flag denies again")
	}
}

// TestRefusals: what On refuses changes nothing, in the kernel and on disk.
func TestRefusals(t *testing.T) {
	nothing := rule.NewSet(nil, []rule.Confine{{ID: "all", Mode: event.ModeEnforce}}, nil, nil)
	for name, c := range map[string]struct {
		set     *rule.Set
		prepare func(*host)
		order   Order
		want    error
		text    string
	}{
		"lock-out":       {set: nothing, want: ErrLockOut},
		"unheld":         {prepare: func(h *host) { h.kernel.unheld = []Unheld{{Rule: "no-paste", Reason: "no NFQUEUE"}} }, want: ErrUnheld, text: "no-paste: no NFQUEUE"},
		"broken":         {prepare: func(h *host) { h.kernel.breaks(true) }, want: errBroken},
		"too short":      {order: Order{Confirm: time.Millisecond}, text: "the time to confirm is 1ms"},
		"too long":       {order: Order{Confirm: 48 * time.Hour}, text: "the time to confirm is 48h"},
		"disk":           {prepare: func(h *host) { _ = os.Mkdir(filepath.Join(h.dir, savedName), 0o700) }, text: "save the mode"},
		"reserved rule":  {set: rule.NewSet([]rule.Rule{{ID: "snitch.protected.x", Action: event.ActionAllow, Mode: event.ModeEnforce}}, nil, nil, nil), text: "those of snitch's own rules"},
		"forced":         {set: nothing, order: Order{Force: true}},
		"forced, unheld": {prepare: func(h *host) { h.kernel.unheld = []Unheld{{Rule: "no-paste"}} }, order: Order{Force: true}},
	} {
		t.Run(name, func(t *testing.T) {
			set := c.set
			if set == nil {
				set = allowSome()
			}
			h := newHost(t, set)
			h.mustStart()
			if c.prepare != nil {
				c.prepare(h)
			}
			err := h.c.On(context.Background(), c.order)
			fine := c.want == nil && c.text == ""
			if (err == nil) != fine || c.want != nil && !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v", err)
			}
			h.kernel.breaks(false)
			if r := h.c.Status(); (r.Mode == event.ModeEnforce) != fine || h.kernel.denies() != fine {
				t.Errorf("mode %s, denies %t", r.Mode, h.kernel.denies())
			}
			if p := h.c.Protected(); (p != nil) != fine {
				t.Errorf("protects %v", p)
			}
			if h.mustStart(); h.kernel.denies() != fine {
				t.Errorf("after a restart: denies %t", h.kernel.denies())
			}
		})
	}
}

func TestNoBackend(t *testing.T) {
	h := newHost(t, allowSome())
	h.kernel = nil
	c := h.mustStart()
	if err := c.On(context.Background(), Order{}); !errors.Is(err, ErrNoBackend) {
		t.Errorf("on: %v", err)
	}
	if err := errors.Join(c.Off(context.Background(), "test"), c.Panic(context.Background(), "test"), c.Close(context.Background(), false)); err != nil {
		t.Error(err)
	}
	h.cfg.Flag = event.ModeEnforce
	if err := clearPanic(h.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := h.start(); !errors.Is(err, ErrNoBackend) {
		t.Errorf("start: %v", err)
	}
}

// TestReload: new rules reach the kernel, bad ones do not, and what did not get
// there is told once, tried again, and healed.
func TestReload(t *testing.T) {
	ctx := context.Background()
	h := newHost(t, allowSome())
	c := h.mustStart()
	if err := c.On(ctx, Order{}); err != nil {
		t.Fatal(err)
	}
	before := h.kernel.held.Policy.Set.Revision
	h.kernel.breaks(true)
	h.set = confineAll()
	if err := h.compile(c); err != nil {
		t.Fatal(err)
	}
	h.pass(3 * time.Second)
	if !h.kernel.denies() || h.kernel.held.Policy.Set.Revision != before {
		t.Error("what held does not hold any more")
	}
	if r := c.Status(); !strings.Contains(r.Problem, errBroken.Error()) {
		t.Errorf("problem %q", r.Problem)
	}
	if len(h.alerts) != 1 {
		t.Errorf("%d alerts: %+v", len(h.alerts), h.alerts)
	}
	h.kernel.breaks(false)
	h.pass(time.Minute)
	if r := c.Status(); r.Problem != "" || h.kernel.held.Policy.Set.Revision == before || !h.kernel.held.FailClosed {
		t.Errorf("not healed: %+v, %+v", r, h.kernel.held)
	}
}

// TestEnds: what stays in the kernel when the daemon stops in order.
func TestEnds(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		set     *rule.Set
		confirm time.Duration
		upgrade bool
		leave   bool
	}{
		"open":            {allowSome(), 0, false, false},
		"open, upgrade":   {allowSome(), 0, true, true},
		"closed":          {confineAll(), 0, false, true},
		"closed, armed":   {confineAll(), time.Minute, false, false},
		"armed, upgraded": {confineAll(), time.Minute, true, false},
	} {
		h := newHost(t, c.set)
		if err := h.mustStart().On(ctx, Order{Confirm: c.confirm}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second does nothing
			if err := h.c.Close(ctx, c.upgrade); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(h.kernel.closed, []bool{c.leave}) {
			t.Errorf("%s: left %v", name, h.kernel.closed)
		}
	}
}

// TestRunBeats: heartbeats go on while the backend works long, end at the
// deadline although it hangs, and Run ends when told. In real time: what waits
// for a mutex cannot be in a bubble.
func TestRunBeats(t *testing.T) {
	h := newHost(t, confineAll())
	c := h.mustStart()
	c.deps.Clock = bootTime
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if err := c.On(ctx, Order{Confirm: 4 * BeatEvery}); err != nil {
		t.Fatal(err)
	}
	hangs := make(chan struct{})
	h.kernel.hang(hangs)
	h.set = allowSome()
	compiled := make(chan error, 1)
	go func() { compiled <- h.compile(c) }() // hangs in Set
	time.Sleep(3 * BeatEvery)
	if n := c.beats.Load(); n < 2 {
		t.Errorf("%d heartbeats while the backend works", n)
	}
	time.Sleep(2 * BeatEvery) // past the deadline
	at := c.beats.Load()
	time.Sleep(2 * BeatEvery)
	if n := c.beats.Load(); n != at {
		t.Errorf("%d heartbeats after the deadline", n-at)
	}
	h.kernel.hang(nil)
	close(hangs)
	if err := <-compiled; err != nil {
		t.Error(err)
	}
	time.Sleep(2 * BeatEvery)
	if r := c.Status(); r.Mode != event.ModeAudit || r.Armed || h.kernel.Status().Mode != event.ModeAudit {
		t.Errorf("%+v, the kernel %+v", r, h.kernel.Status())
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestUnwell: a daemon that does not do its work sends no heartbeats.
func TestUnwell(t *testing.T) {
	h := newHost(t, allowSome())
	c := h.mustStart()
	if err := c.On(context.Background(), Order{}); err != nil {
		t.Fatal(err)
	}
	well := true
	c.deps.Healthy = func() bool { return well }
	if !c.mayBeat() {
		t.Error("no heartbeat of a daemon that is well")
	}
	if well = false; c.mayBeat() {
		t.Error("a heartbeat of a daemon that is not")
	}
}

// TestDamagedFile: the configuration counts, and people are told.
func TestDamagedFile(t *testing.T) {
	for name, text := range map[string]string{"cut": `{"version":1,"mode":"enf`, "newer": `{"version":2,"mode":"audit"}`, "no mode": `{"version":1,"mode":"deny"}`,
		"no session": `{"version":1,"sessions":[{"peer":"1.2.3.4","local":"1.2.3.4:0"}]}`, "empty": ""} {
		h := newHost(t, allowSome())
		h.cfg.Mode = event.ModeEnforce
		if err := os.WriteFile(filepath.Join(h.dir, savedName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := h.mustStart().Status()
		if r.Mode != event.ModeEnforce || r.Source != SourceConfig || len(h.alerts) != 1 {
			t.Errorf("%s: %s by %s, %d alerts", name, r.Mode, r.Source, len(h.alerts))
		}
	}
}

// TestPanicByHand: a file made with touch is enough, for a daemon that lives.
func TestPanicByHand(t *testing.T) {
	ctx := context.Background()
	h := newHost(t, confineAll())
	if err := h.mustStart().On(ctx, Order{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.dir, PanicName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if h.pulse(); h.kernel.denies() {
		t.Error("it denies")
	}
	if h.c.Protected() != nil || len(h.kernel.held.Policy.Set.Rules) != 2 {
		t.Error("rules are still those of enforcement")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if h.pulse(); h.kernel.denies() {
		t.Error("it denies again, and nobody turned it on")
	}
	if err := h.c.On(ctx, Order{}); err != nil || !h.kernel.denies() {
		t.Errorf("on: %v", err)
	}
}
