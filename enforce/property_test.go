package enforce

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what somebody at the keyboard believes.
type model struct {
	on        bool // enforcement is wanted
	armed     bool
	boot      string
	deadline  time.Duration
	lapsed    bool // deadline passed, and nobody had confirmed
	alive     bool
	panicking bool
}

// expire is what the passing of time does to the belief.
func (m *model) expire(h *host) {
	if m.armed && (h.boot != m.boot || h.clock.boot() >= m.deadline) {
		m.on, m.armed, m.lapsed = false, false, h.boot == m.boot
	}
	m.lapsed = m.lapsed && h.boot == m.boot
}

// TestModesHoldWhatTheyPromise plays random lives of a host. Enforcement is
// never on after a deadline that nobody confirmed, not even with a dead daemon
// or a kernel that refuses; and with a living daemon and a working kernel it is
// on exactly when it is wanted.
func TestModesHoldWhatTheyPromise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		set := allowSome()
		if rapid.Bool().Draw(rt, "confined") {
			set = confineAll()
		}
		h := newHost(t, set)
		m := &model{}
		ctx := context.Background()
		start := func() {
			_, _ = h.start() // a broken kernel is part of the play
			m.alive = true
		}
		start()
		does := map[string]func(*rapid.T){
			"on": func(rt *rapid.T) {
				var o Order
				if rapid.Bool().Draw(rt, "confirm") {
					o.Confirm = time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second
				}
				if !m.alive || h.c.On(ctx, o) != nil || m.on {
					return
				}
				m.on, m.armed, m.panicking, m.lapsed = true, o.Confirm > 0, false, false
				m.boot, m.deadline = h.boot, h.clock.boot()+o.Confirm
			},
			"confirm": func(*rapid.T) {
				if m.alive && h.c.Confirm(ctx, "test") == nil {
					if !m.armed {
						rt.Fatal("confirmed what was not armed")
					}
					m.armed = false
				}
			},
			"off": func(*rapid.T) {
				if m.alive {
					_ = h.c.Off(ctx, "test") // a broken kernel
					m.on, m.armed, m.panicking = false, false, false
				}
			},
			"panic": func(*rapid.T) {
				if err := MarkPanic(h.dir); err != nil {
					rt.Fatal(err)
				}
				m.on, m.armed, m.panicking = false, false, true
			},
			"kill":  func(*rapid.T) { m.alive = false },
			"start": func(*rapid.T) { start() },
			"stop": func(*rapid.T) {
				if m.alive {
					m.alive = false
					_ = h.c.Close(ctx, false) // it cannot fail
				}
			},
			"reboot": func(rt *rapid.T) {
				h.boot += "+"
				h.clock.now = time.Minute
				h.kernel.reboot()
				if m.alive = false; rapid.Bool().Draw(rt, "starts") {
					start()
				}
			},
			"sleep":  func(rt *rapid.T) { h.clock.pass(time.Duration(rapid.IntRange(0, 100).Draw(rt, "s")) * time.Second) },
			"pass":   func(rt *rapid.T) { passAlive(h, m, rapid.IntRange(1, 20).Draw(rt, "s")) },
			"break":  func(*rapid.T) { h.kernel.breaks(true) },
			"mend":   func(*rapid.T) { h.kernel.breaks(false) },
			"reload": func(*rapid.T) { _ = h.compile(h.c) },
			"": func(*rapid.T) {
				m.expire(h)
				holds(rt, h, m)
			},
		}
		rt.Repeat(does)
	})
}

func passAlive(h *host, m *model, seconds int) {
	if m.alive {
		h.pass(time.Duration(seconds) * time.Second)
		return
	}
	h.clock.pass(time.Duration(seconds) * time.Second)
}

// holds compares the kernel with the belief.
func holds(rt *rapid.T, h *host, m *model) {
	if m.alive {
		h.pulse()
	}
	switch denies := h.kernel.denies(); {
	case !m.on && m.alive && !h.kernel.broken && denies:
		h.pass(time.Duration(h.c.retry+1) * BeatEvery) // a kernel that was mended is tried again
		if h.kernel.denies() {
			rt.Fatal("it denies, and nobody wants it")
		}
	case m.lapsed && denies && h.clock.boot()-m.deadline >= BeatTimeout:
		rt.Fatal("it denies after its deadline, and nobody confirmed it")
	case m.on && m.alive && !h.kernel.broken && !denies:
		h.pass(time.Minute) // tries again
		m.expire(h)
		if m.on && !h.kernel.denies() {
			rt.Fatal("it is wanted and does not deny")
		}
	}
	if h.kernel.pinned && h.kernel.held.FailClosed && m.armed {
		rt.Fatal("an armed mode fails closed")
	}
}

// TestCrashWhileSaving: whatever a crash leaves of a file that was being
// written, the next start reads the old or the new.
func TestCrashWhileSaving(t *testing.T) {
	dir := t.TempDir()
	old := Saved{Mode: "audit", By: "before"}
	if err := old.save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("%s/.%s.123", dir, savedName), []byte(`{"version":1,"mode":"enf`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil || got.By != "before" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.Remove(dir + "/" + savedName); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/"+savedName, 0o700); err != nil { // nothing can be renamed over it
		t.Fatal(err)
	}
	if err := (Saved{Mode: "enforce"}).save(dir); err == nil {
		t.Error("a save that left nothing is no success")
	}
}

func FuzzSaved(f *testing.F) {
	f.Add([]byte(`{"version":1,"mode":"enforce","armed":{"boot":"x","deadline":12},"sessions":[{"peer":"192.0.2.1","local":"192.0.2.2:22"}]}`))
	f.Add([]byte(`{"version":1,"sessions":[{"peer":"::ffff:1.2.3.4","local":"[fe80::1%eth0]:22"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSaved(data)
		if err != nil {
			return
		}
		p := Protected{Sessions: s.Sessions}
		if _, err := p.Merge(allowSome()); err != nil {
			t.Fatal(err)
		}
		if _, ok := parseMode(s.Mode); !ok {
			t.Fatalf("mode %q", s.Mode)
		}
	})
}
