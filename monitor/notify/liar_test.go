package notify

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
)

// TestHelperLies speaks to the core as a helper that its person replaced.
func TestHelperLies(t *testing.T) {
	spawned := make(chan net.Conn, 16)
	answers := 0
	d := &desk{uid: person, log: slog.New(slog.DiscardHandler), count: &counters{}, woken: make(chan struct{}, 1),
		plan: newPlan(pace, nil, maphash.MakeSeed()), deps: Deps{
			Spawn: func(context.Context, uint32) (net.Conn, error) {
				ours, theirs := net.Pipe()
				spawned <- theirs
				return ours, nil
			},
			Answer: func(context.Context, Click) (Text, error) { answers++; return Text{}, nil },
		}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.run(ctx) }()
	lies := []string{"\x00\xff\n", "{}\n{}\n" + strings.Repeat("x", 2*maxMessage), `{"event":"action","key":4,"more":1}` + "\n",
		strings.Repeat(`{"event":"action","key":999,"action":"why"}`+"\n", 100) + `{"event":"dismissed","key":77}` + "\nnonsense\n", ""}
	for i, lie := range lies {
		d.change(func(p *plan, now time.Time) {
			p.add(program(i, event.ActionDeny), now, true)
			p.rest.shownAt = time.Time{}
		})
		select {
		case conn := <-spawned:
			go func() {
				buf := make([]byte, maxMessage)
				_, _ = conn.Read(buf)
				_, _ = fmt.Fprint(conn, lie)
				if lie == "" {
					conn.Close()
				}
			}()
		case <-time.After(15 * time.Second):
			t.Fatalf("no helper after lie %d", i)
		}
		eventually(t, fmt.Sprintf("lie %d ends the helper", i), func() bool { return d.count.failed.Load() == uint64(i+1) })
	}
	cancel()
	<-done
	if answers != 0 {
		t.Errorf("%d clicks on toasts that were never shown were answered", answers)
	}
}
