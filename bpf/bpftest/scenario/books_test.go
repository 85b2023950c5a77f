package scenario

import (
	"fmt"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/bpf/bpftest/report"
)

// TestBooks plays every scenario without a monitor and compares the two ends
// with each other: what one sent, the other received, byte for byte. Only
// then are the generators fit to judge anybody else.
func TestBooks(t *testing.T) {
	bpftest.CheckDescriptors(t)
	l := newLab(t, trafficBinary(t, t.TempDir()))
	for _, s := range chosen(t) {
		t.Run(s.name, func(t *testing.T) {
			bpftest.Need(t, s.needs...)
			r := l.play(&s, l.cgroup)
			if r.err != nil {
				t.Fatal(r.err)
			}
			if len(r.reports) == 0 {
				t.Fatal("no process reported")
			}
			if err := balance(r.reports); err != nil && s.unequal == "" && twoEnds(r.reports) {
				t.Error(err)
			} else if err == nil && s.unequal != "" {
				t.Errorf("the books agree although %s", s.unequal)
			}
		})
	}
}

// twoEnds says whether both ends of the traffic belong to processes of ours.
func twoEnds(reports []report.Report) bool {
	in := false
	for _, r := range reports {
		for _, f := range r.Flows {
			in = in || f.Direction == "in"
		}
	}
	return in
}

func balance(reports []report.Report) error {
	var out, in report.Flow
	for _, r := range reports {
		for _, f := range r.Flows {
			sum := &out
			if f.Direction == "in" {
				sum = &in
			}
			sum.Sent += f.Sent
			sum.Received += f.Received
		}
	}
	if out.Sent != in.Received || out.Received != in.Sent {
		return fmt.Errorf("clients sent %d and received %d, servers received %d and sent %d", out.Sent, out.Received, in.Received, in.Sent)
	}
	return nil
}
