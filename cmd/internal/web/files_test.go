package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"snitch/cmd/internal/web/api"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// TestExports compares files with the answers.
func TestExports(t *testing.T) {
	p := serve(t, state(t), &judge{})
	want := ask[query.Groups](p, "/api/groups?by=exe&by=uid&"+span())
	code, body, h := p.do("GET", "/api/export?format=csv&by=exe&by=uid&"+span(), nil)
	if code != http.StatusOK || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=\"snitch-exe-uid-") {
		t.Fatalf("answered %d, %q", code, h.Get("Content-Disposition"))
	}
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil || len(rows) != want.Count+1 || rows[0][0] != "exe" || rows[0][1] != "uid" {
		t.Fatalf("%v, %d rows for %d groups: %.200s", err, len(rows), want.Count, body)
	}
	_, body, _ = p.do("GET", "/api/export?format=json&"+span(), nil)
	n := 0
	for line := range bytes.Lines(body) {
		var r event.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3000 {
		t.Errorf("%d connections in the file, want 3000", n)
	}
	_, body, _ = p.do("GET", "/api/export?format=csv&limit=20&f="+url.QueryEscape("name~img")+"&"+span(), nil)
	rows, err = csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%v, %d rows: %s", err, len(rows), body)
	}
	for _, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@|%", rune(cell[0])) {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	}
}

// TestDraftsLoad drafts rules of real rows. That they load is checked where
// they are written; here, that they name what was seen.
func TestDraftsLoad(t *testing.T) {
	p := serve(t, state(t), &judge{})
	for _, f := range []string{"exe=/usr/bin/curl", "exe=/usr/sbin/nginx", "domain=", "name~img"} {
		list := ask[api.Connections](p, "/api/connections?limit=5&f="+url.QueryEscape(f)+"&"+span())
		if len(list.Rows) == 0 {
			t.Fatalf("no row of %s", f)
		}
		for _, r := range list.Rows {
			d := ask[api.Draft](p, fmt.Sprintf("/api/draft?action=deny&pid=%d&time=%s", r.PID, url.QueryEscape(r.Time.Format(time.RFC3339Nano))))
			if !strings.Contains(d.Text, "action: deny") || !strings.Contains(d.Text, "version: 1") || !strings.Contains(d.Text, r.User) {
				t.Errorf("of %s to %s it drafts\n%s", r.Exe, r.RAddr, d.Text)
			}
		}
	}
}

// TestPolicyCounts joins counts to rules.
func TestPolicyCounts(t *testing.T) {
	p := serve(t, state(t), &judge{})
	v := ask[api.PolicyPage](p, "/api/policy")
	got := map[string]api.RuleEntry{}
	for _, e := range v.Entries {
		got[e.ID] = e
	}
	if e := got["no-paste-sites"]; e.Hits == 0 || e.WouldDeny+e.Denied == 0 || e.Dead {
		t.Errorf("no-paste-sites: %+v", e)
	}
	if e := got["old-proxy"]; !e.Dead {
		t.Errorf("old-proxy: %+v", e)
	}
	if e := got["browsers"]; e.Kind != "gone" || e.Hits == 0 {
		t.Errorf("browsers, which are in no rule any more: %+v", e)
	}
}

// TestWithoutRecord asks everything where there is nothing yet.
func TestWithoutRecord(t *testing.T) {
	p := serve(t, t.TempDir(), &judge{})
	for _, path := range []string{"/api/overview?last=1h", "/api/groups?by=exe", "/api/series?by=exe", "/api/connections", "/api/alerts"} {
		code, body, _ := p.do("GET", path, nil)
		var problem api.Problem
		if err := json.Unmarshal(body, &problem); err != nil || code != http.StatusServiceUnavailable || problem.Hint == "" {
			t.Errorf("%s answered %d %s", path, code, body)
		}
	}
	h := ask[api.HealthPage](p, "/api/health?last=1h")
	if h.Status != nil || h.Daemon == nil || h.Record != nil || h.Problem == nil {
		t.Errorf("health is %+v", h)
	}
	if code, _, _ := p.do("GET", "/", nil); code != http.StatusOK {
		t.Errorf("the page answered %d", code)
	}
}

// TestAssets holds what pages load: types, packing, caching.
func TestAssets(t *testing.T) {
	p := serve(t, t.TempDir(), &judge{})
	_, shell, _ := p.do("GET", "/", nil)
	_, rest, _ := strings.Cut(string(shell), `src="`)
	script, _, _ := strings.Cut(rest, `"`)
	base := strings.TrimSuffix(script, "/app.js")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.address+script, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || len(plain) < 10_000 {
		t.Fatalf("%d bytes of script, %v", len(plain), err)
	}
	if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("the script's Cache-Control is %q", got)
	}
	for path, kind := range map[string]string{"/app.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml", "/flags/DE.svg": "image/svg+xml", "/world.json": "application/json", "/licences.txt": "text/plain; charset=utf-8"} {
		code, body, h := p.do("GET", base+path, nil)
		if code != http.StatusOK || h.Get("Content-Type") != kind || len(body) == 0 {
			t.Errorf("%s answered %d as %q with %d bytes", path, code, h.Get("Content-Type"), len(body))
		}
	}
	for _, path := range []string{"/flags/XX.svg", "/flags/../app.js", "/nothing", "/flags.json"} {
		if code, _, _ := p.do("GET", base+path, nil); code == http.StatusOK {
			t.Errorf("%s is there", path)
		}
	}
}
