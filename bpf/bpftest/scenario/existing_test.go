package scenario

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/bpf/bpftest/report"
)

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// TestExisting: a connection that is older than the daemon belongs to its
// process, and only what came since is counted.
func TestExisting(t *testing.T) {
	bin := build(t, t.TempDir())
	l := newLab(t, bin.traffic)
	cg, err := l.cgroup.Child("existing")
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(filepath.Join(l.dir, "reports"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const first = 5000
	p, err := startPeer(exec.Command(bin.traffic, "serve", "-ready", "3", "-on", "tcp "+tcp4), bpftest.Place{Net: l.pair.Server, Cgroup: cg}, out)
	if err != nil {
		t.Fatal(err)
	}
	gateR, gateW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin.traffic, strings.Fields("stream -gate 3 -first 5000 -n 50000 -reply 30000 -to "+tcp4)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, os.Stderr, []*os.File{gateR}
	if err := bpftest.Start(cmd, bpftest.Place{Net: l.pair.Client, Cgroup: cg}); err != nil {
		t.Fatal(err)
	}
	if err := gateR.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(patience(300 * time.Millisecond)) // the first bytes are through
	d := startDaemon(t, bin.snitch, filepath.Join(l.dir, "state"), l.cgroup)
	time.Sleep(patience(1500 * time.Millisecond)) // what runs already is hashed after the start
	if err := errors.Join(gateW.Close(), waitFor(cmd, patience(20*time.Second)), p.stop()); err != nil {
		t.Fatal(err)
	}
	d.stop(t, l.cgroup)
	reports, err := readReports(out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range reports {
		for k := range reports[i].Flows {
			if f := &reports[i].Flows[k]; f.Direction == "in" {
				f.Received -= first // the peer does not know when the daemon came
			}
		}
	}
	judgeExisting(t, reports, byCgroup(t, d)[cg.Path()])
}

func judgeExisting(t *testing.T, reports []report.Report, rows []record) {
	t.Helper()
	for _, f := range compare(&scenario{}, &run{reports: reports}, rows, nil).faults {
		t.Error(f)
	}
	for i := range rows {
		if !rows[i].Existing {
			t.Errorf("not marked as older than the daemon: %v", &rows[i])
		}
		t.Logf("row: %v", &rows[i])
	}
}
