package scenario

import (
	"fmt"
	"path/filepath"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/bpf/bpftest/report"
)

// TestConservation: what was generated is what was recorded and what was
// counted as lost, together, to the byte; also when the kernel has room for 64
// flows only and thousands come at once.
func TestConservation(t *testing.T) {
	bin := build(t, t.TempDir())
	loads := []scenario{
		{name: "sockets", peer: []string{"tcp " + tcp4}, args: fmt.Sprintf("many -count %d -workers 8 -n 1000 -reply 500 -to %s", few(3000), tcp4)},
		{name: "peers", args: fmt.Sprintf("scatter -count %d", few(8000))},
		{name: "eight-peers", peer: eightServices(), args: fmt.Sprintf("threads -count %d %s", few(200), eightFlags())},
		{name: "bulk", peer: []string{"tcp " + tcp4}, args: fmt.Sprintf("stream -chunk 65536 -n %d -reply 1000000 -to %s", few(50_000_000), tcp4)},
	}
	for _, c := range []struct {
		name  string
		flags []string
		lossy bool
	}{
		{"room", nil, false},
		{"64 entries", []string{"--flow-entries", "64"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, bin.traffic)
			d := startDaemon(t, bin.snitch, filepath.Join(l.dir, "state"), l.cgroup, c.flags...)
			var made, madeTCP report.Flow
			for i := range loads {
				r := l.play(&loads[i], l.cgroup)
				if r.err != nil {
					t.Fatal(r.err)
				}
				sum(&made, r, "")
				sum(&madeTCP, r, "tcp")
			}
			lost := lossesOf(t, d)
			missed := missedRuns(t, d)
			d.stop(t, l.cgroup)
			kept, keptTCP := recorded(t, d, l.cgroup, ""), recorded(t, d, l.cgroup, "tcp")
			t.Logf("made %d out and %d in, recorded %d and %d, lost %d and %d in %d cases", made.Sent, made.Received,
				kept.Sent, kept.Received, lost.Sent, lost.Received, lost.Count)
			if !c.lossy && keptTCP != madeTCP {
				t.Errorf("of TCP, %d sent and %d received are recorded, but %d and %d were made",
					keptTCP.Sent, keptTCP.Received, madeTCP.Sent, madeTCP.Received)
			}
			if missed > 0 && kept.Sent+lost.Sent <= made.Sent && kept.Received+lost.Received <= made.Received {
				t.Logf("shortfall: conservation: %s", skipped)
			} else if kept.Sent+lost.Sent != made.Sent || kept.Received+lost.Received != made.Received {
				t.Errorf("recorded and lost are %d sent and %d received, but %d and %d were made",
					kept.Sent+lost.Sent, kept.Received+lost.Received, made.Sent, made.Received)
			}
			if (lost.Count > 0) != c.lossy {
				t.Errorf("%d losses, want some: %v", lost.Count, c.lossy)
			}
		})
	}
}

// sum adds up what was made by proto, "" for all.
func sum(into *report.Flow, r *run, proto string) {
	for i := range r.reports {
		for _, f := range r.reports[i].Flows {
			if proto == "" || f.Proto == proto {
				into.Sent += f.Sent
				into.Received += f.Received
			}
		}
	}
}

// recorded sums the rows of a cgroup and its children by proto, "" for all.
func recorded(t *testing.T, d *daemon, cg *bpftest.Cgroup, proto string) (kept report.Flow) {
	t.Helper()
	all, err := d.log()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if within(all[i].Cgroup, cg.Path()) && (proto == "" || all[i].Proto == proto) {
			kept.Sent += all[i].Sent
			kept.Received += all[i].Received
		}
	}
	return kept
}

// TestFilter: with --cgroup nothing of other cgroups is in the log, while
// their processes are still known as parents.
func TestFilter(t *testing.T) {
	bin := build(t, t.TempDir())
	l := newLab(t, bin.traffic)
	outside := bpftest.NewCgroup(t)
	d := startDaemon(t, bin.snitch, filepath.Join(l.dir, "state"), l.cgroup)
	for i, at := range []*bpftest.Cgroup{outside, l.cgroup} {
		s := scenario{name: []string{"outside", "inside"}[i], peer: []string{"tcp " + tcp4, "udp " + udp4}, args: "stream -to " + tcp4}
		if r := l.play(&s, at); r.err != nil {
			t.Fatal(r.err)
		}
	}
	d.stop(t, l.cgroup)
	all, err := d.log()
	if err != nil {
		t.Fatal(err)
	}
	inside := 0
	for i := range all {
		if within(all[i].Cgroup, l.cgroup.Path()) {
			inside++
		} else {
			t.Errorf("a row of another cgroup: %v", &all[i])
		}
	}
	if inside == 0 {
		t.Error("no row of the watched cgroup either")
	}
}
