package policy

import (
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// TestSetMode: a decision has the mode of its moment, also where the cache knew
// it, and says deny only where the kernel refused.
func TestSetMode(t *testing.T) {
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	e.Use(prepared(t, set(rule.Rule{ID: "d", Action: event.ActionDeny, Match: rule.Match{To: port(25)}})))
	defer e.Close()
	next := uint64(0)
	decide := func(result event.Result) event.Decision {
		t.Helper()
		next++
		conns := []event.Connection{outbound(next, program("/bin/a"), "192.0.2.1:25")}
		conns[0].Result, conns[0].Closed = result, true
		e.Batch(t.Context(), conns)
		return conns[0].Decision
	}
	for _, step := range []struct {
		mode   event.Mode
		result event.Result
		action event.Action
	}{
		{event.ModeAudit, event.ResultClosed, event.ActionAlert},
		{event.ModeEnforce, event.ResultDenied, event.ActionDeny},
		{event.ModeEnforce, event.ResultClosed, event.ActionAlert},
		{event.ModeAudit, event.ResultClosed, event.ActionAlert},
	} {
		e.SetMode(step.mode)
		d := decide(step.result)
		if d.Mode != step.mode || d.Action != step.action || d.Would != event.ActionDeny || d.Capped == (step.action == event.ActionDeny) || d.Rule != "d" {
			t.Errorf("%+v: got %+v", step, d)
		}
	}
	e.SetMode(event.ModeEnforce)
	c := outbound(99, program("/bin/a"), "192.0.2.1:25")
	if _, d := e.Decide(t.Context(), &c); d.Action != event.ActionDeny || d.Mode != event.ModeEnforce {
		t.Errorf("of an attempt that waits: %+v", d)
	}
}

// TestRefusedByKernel: what the kernel refused stands, whatever the rules say by
// now, and is told once.
func TestRefusedByKernel(t *testing.T) {
	e := New(Config{Mode: event.ModeEnforce}, Deps{})
	e.Use(prepared(t, set(rule.Rule{ID: "a", Action: event.ActionAllow})))
	defer e.Close()
	conn := outbound(1, program("/bin/a"), "192.0.2.1:25")
	conn.Result = event.ResultDenied
	conn.Decision = event.Decision{Action: event.ActionDeny, Mode: event.ModeEnforce, Reason: "nobody decided in time", At: time.Now()}
	alerts := 0
	for range 2 {
		conns := []event.Connection{conn}
		out := e.Batch(t.Context(), conns)
		d := conns[0].Decision
		if d.Action != event.ActionDeny || d.Would != event.ActionAllow || d.Reason != "nobody decided in time" || d.Rule != "" {
			t.Errorf("got %+v", d)
		}
		alerts += len(out.Alerts)
	}
	if alerts != 1 {
		t.Errorf("it was told %d times", alerts)
	}
}
