package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/policy"
)

// full is a sample in which everything is there.
func full() Sample {
	st := control.Status{Version: "1", Tier: "reference", Mode: "enforce", Started: time.Unix(1000, 0), Losses: map[string]control.Loss{"hash": {Count: 3, Sent: 4, Received: 5}},
		Enforce: &control.Enforce{Backend: &control.EnforceBackend{Denied: 7, Held: 6, Expired: 5, Waiting: 4, Lost: 3, Unheld: make([]control.UnheldRule, 2)}},
		Remote:  &control.Remote{Rows: 11, Parcels: 2, Waiting: 9, WaitingBytes: 100, Spool: 1000, Behind: 1.5, Dropped: 1, Problem: "x"},
		Fleet: &control.Fleet{Revision: "v1", Offered: "v2", Percent: 10, Drift: "it is for 10 %", Looks: 9, Failures: 2, Refused: 3, Returns: 1,
			Changed: time.Unix(2000, 0), Checked: time.Unix(3000, 0), TrialUntil: time.Unix(4000, 0)},
		Policy: control.Policy{Revision: "r1", Rules: 12, Error: "bad"}, Broker: control.Broker{Alive: true, Helpers: []string{"a"}}}
	s := Sample{Status: st, Commits: 4, CommitTime: 2 * time.Second}
	s.Decisions.Counts = [9]uint64{1, 2, 0, 0, 0, 0, 0, 0, 3}
	s.Decisions.Sum = time.Second
	return s
}

func meter() *Meter {
	m := New(func(context.Context) (Sample, error) { return full(), nil })
	m.Decided([]policy.Decided{{Action: event.ActionDeny, Rule: "a", Count: 2}, {Action: event.ActionAllow, Count: 5}})
	m.Decided([]policy.Decided{{Action: event.ActionDeny, Rule: "a", Count: 1}})
	return m
}

func gather(t *testing.T, m *Meter) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

// text is what Prometheus reads.
func text(t *testing.T, m *Meter) string {
	t.Helper()
	h, err := m.Handler()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:9465/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestExposition(t *testing.T) {
	out := text(t, meter())
	for _, want := range []string{
		`snitch_up 1`, `snitch_decisions_total{action="deny",rule="a"} 3`, `snitch_decisions_total{action="allow",rule=""} 5`,
		`snitch_losses_total{cause="hash"} 3`, `snitch_losses_total{cause="store"} 0`, `snitch_lost_received_bytes_total{cause="hash"} 5`,
		`snitch_decision_seconds_bucket{le="5e-05"} 1`, `snitch_decision_seconds_bucket{le="0.25"} 3`, `snitch_decision_seconds_bucket{le="+Inf"} 6`,
		`snitch_decision_seconds_sum 1`, `snitch_info{mode="enforce",tier="reference",version="1"} 1`, `snitch_denied_total 7`, `snitch_unheld_rules 2`,
		`snitch_rules_failing 1`, `snitch_remote_failing 1`, `snitch_remote_waiting_bytes 100`, `snitch_database_commit_seconds_total 2`, `snitch_start_time_seconds 1000`,
		`snitch_fleet_info{offered="v2",revision="v1"} 1`, `snitch_fleet_stage_percent 10`, `snitch_fleet_drift 1`, `snitch_fleet_trial 1`, `snitch_fleet_checked_seconds 3000`,
		`snitch_fleet_fetches_total 9`, `snitch_fleet_failures_total 2`, `snitch_fleet_refused_total 3`, `snitch_fleet_returns_total 1`,
	} {
		if !strings.Contains(out, "\n"+want+"\n") && !strings.HasPrefix(out, want+"\n") {
			t.Errorf("lacks %s:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "snitch_losses_total{"); n != len(event.LossCauses()) {
		t.Errorf("%d causes of losses, there are %d", n, len(event.LossCauses()))
	}
}

// TestEveryFamilyIsTold: a family that tells nothing could not be alerted on.
func TestEveryFamilyIsTold(t *testing.T) {
	got := gather(t, meter())
	seen := map[string]bool{}
	for _, f := range families() {
		name := prefix + f.name
		if got[name] == nil || len(got[name].GetMetric()) == 0 {
			t.Errorf("%s tells nothing", name)
		}
		if seen[name] || !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s is there twice, or its help is no sentence: %q", name, f.help)
		}
		if counts := f.kind == prometheus.CounterValue; counts != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: a counter ends with _total, and nothing else does", name)
		}
		seen[name] = true
	}
	if len(got) != len(seen) {
		t.Errorf("%d metrics are told, %d are listed", len(got), len(seen))
	}
}

// TestDaemonSilent: a daemon that does not answer is told as such.
func TestDaemonSilent(t *testing.T) {
	m := New(func(context.Context) (Sample, error) { return Sample{}, errors.New("stuck") })
	text(t, m)
	out := text(t, m)
	if !strings.Contains(out, "snitch_up 0\n") || !strings.Contains(out, "snitch_scrape_failures_total 2\n") || strings.Contains(out, "snitch_connections_total") {
		t.Errorf("told %s", out)
	}
}

// TestManyRules: sets of rules that come and go do not fill the memory.
func TestManyRules(t *testing.T) {
	m := meter()
	for i := range 3 * maxRules {
		m.Decided([]policy.Decided{{Action: event.ActionAlert, Rule: fmt.Sprint(i), Count: 1}})
	}
	if len(m.decided) > maxRules+5 {
		t.Errorf("%d rules are kept apart", len(m.decided))
	}
	var sum uint64
	for key, n := range m.decided {
		if key[0] == "alert" {
			sum += n
		}
	}
	if sum != 3*maxRules || !strings.Contains(text(t, m), `snitch_decisions_total{action="alert",rule="(other)"} `) {
		t.Errorf("%d decisions of %d are counted", sum, 3*maxRules)
	}
}

// TestServe on a real socket: only GET /metrics, only under names of loopback,
// and it ends when told to.
func TestServe(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- meter().Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.Addr().String())
	}}}
	for _, c := range []struct {
		method, url string
		want        int
	}{
		{http.MethodGet, "http://localhost/metrics", 200}, {http.MethodGet, "http://127.0.0.1:9465/metrics", 200}, {http.MethodGet, "http://[::1]:9465/metrics", 200},
		{http.MethodGet, "http://evil.example/metrics", 421}, {http.MethodGet, "http://192.0.2.1/metrics", 421}, {http.MethodGet, "http://localhost/", 404},
		{http.MethodPost, "http://localhost/metrics", 405}, {http.MethodGet, "http://localhost/debug/pprof/", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.want || c.want == 200 && !strings.Contains(string(body), "snitch_up 1") {
			t.Errorf("%s %s: %d %.100s", c.method, c.url, res.StatusCode, body)
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
}
