package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

var docs = filepath.Join("..", "..", "..", "docs")

var nameInText = regexp.MustCompile(`\bsnitch_[a-z_]+[a-z]\b`)

// known are the names that expressions may use: of a histogram its parts.
func known() map[string][]string {
	out := map[string][]string{}
	for _, f := range families() {
		name := prefix + f.name
		if f.kind == 0 { // a histogram
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				out[name+part] = append([]string{"le"}, f.labels...)
			}
			continue
		}
		out[name] = f.labels
	}
	return out
}

var (
	selector = regexp.MustCompile(`(snitch_[a-z_]+)(?:\{([^}]*)\})?`)
	label    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
)

// checkExpression holds every metric and label of an expression against those
// that there are.
func checkExpression(t *testing.T, where, expr string) (metrics int) {
	t.Helper()
	names := known()
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		metrics++
		labels, ok := names[m[1]]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, m[1])
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(append([]string{"instance", "job"}, labels...), l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: brackets do not match: %s", where, expr)
	}
	return metrics
}

// TestAlertRules: each rule has a name of its own, a known metric, a severity
// and a summary; promtool agrees, where there is one.
func TestAlertRules(t *testing.T) {
	file := filepath.Join(docs, "grafana", "alerts.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	dec.KnownFields(true)
	if err := dec.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile(filepath.Join(docs, "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Annotations["summary"] == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("rule %q is there twice, or lacks a severity or summary", r.Alert)
			}
			if checkExpression(t, r.Alert, r.Expr) == 0 {
				t.Errorf("%s is about nothing of ours: %s", r.Alert, r.Expr)
			}
			if !strings.Contains(string(manual), "`"+r.Alert+"`") {
				t.Errorf("docs/metrics.md does not explain %s", r.Alert)
			}
			seen[r.Alert] = true
		}
	}
	if len(seen) < 8 {
		t.Errorf("%d alert rules", len(seen))
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command(promtool, "check", "rules", file).CombinedOutput(); err != nil {
			t.Errorf("promtool: %v: %s", err, out)
		}
	}
}

// TestDashboard: every panel has a title and expressions of known metrics, none
// lies on another, and the variables that are used are there.
func TestDashboard(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(docs, "grafana", "snitch.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ RefID, Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	variables := []string{"__range", "__rate_interval"}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		checkExpression(t, v.Name, v.Definition)
	}
	if len(d.Panels) < 10 || d.UID == "" || d.Title == "" {
		t.Fatalf("%d panels", len(d.Panels))
	}
	type cell struct{ x, y int }
	taken, ids := map[cell]int{}, map[int]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || len(p.Targets) == 0 || ids[p.ID] {
			t.Errorf("panel %d has no title or nothing to show, or its number is another's", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[cell{x, y}]; other != 0 || x >= 24 {
					t.Fatalf("panel %d lies on panel %d, or beyond the edge", p.ID, other)
				}
				taken[cell{x, y}] = p.ID
			}
		}
		for _, target := range p.Targets {
			if checkExpression(t, p.Title, target.Expr) == 0 || target.LegendFormat == "" || target.RefID == "" {
				t.Errorf("%s: %s: no metric, legend or reference", p.Title, target.Expr)
			}
			for _, v := range regexp.MustCompile(`\$\{?([a-zA-Z_]+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(variables, v[1]) {
					t.Errorf("%s: there is no variable %s", p.Title, v[1])
				}
			}
		}
	}
}

// TestManual: docs/metrics.md lists exactly the metrics that there are, with
// their labels.
func TestManual(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(docs, "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) == 5 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`snitch_") {
			told[strings.Trim(cells[1], " `")] = strings.TrimSpace(cells[2])
		}
	}
	for _, f := range families() {
		name := prefix + f.name
		var labels []string
		for _, l := range f.labels {
			labels = append(labels, "`"+l+"`")
		}
		got, ok := told[name]
		if want := strings.Join(labels, ", "); !ok || got != want {
			t.Errorf("docs/metrics.md: %s has labels %q, want %q: | `%s` | %s | %s |", name, got, want, name, want, f.help)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("docs/metrics.md tells of %s, which is not there", name)
	}
	for _, name := range nameInText.FindAllString(string(b), -1) {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !slices.ContainsFunc(families(), func(f family) bool { return prefix+f.name == name || prefix+f.name == base }) {
			t.Errorf("docs/metrics.md names %s, which is not there", name)
		}
	}
}
