package control

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"snitch/monitor/event"
)

// documented are the objects of docs/api.md.
func documented() []any {
	return []any{Message{}, event.Record{}, event.Ancestor{}, Status{}, Mechanism{}, Events{}, Loss{}, Connections{}, Digests{}, Names{}, Packages{}, PackageDatabase{},
		Database{}, Remote{}, Memory{}, Live{}, Output{}, Reputation{}, Verdict{}, Broker{}, Policy{}, Fleet{}, Desktops{}, Enforce{}, ProtectedRule{}, EnforceBackend{}, UnheldRule{}, Doctor{}, Feature{}}
}

// TestDocs holds docs/api.md against the code: each request, each object with
// exactly its fields, and which of them may be absent.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	var routes []string
	for _, r := range New(Config{Log: slog.New(slog.DiscardHandler)}).routes() {
		routes = append(routes, r.pattern)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:GET|POST) /v1/[a-z]+)").FindAllStringSubmatch(doc, -1) {
		told = append(told, m[1])
	}
	if !slices.Equal(routes, told) {
		t.Errorf("requests %q, the document has %q", routes, told)
	}
	_, objects, _ := strings.Cut(doc, "\n## Objects\n")
	sections := strings.Split(objects, "\n### ")[1:]
	if len(sections) != len(documented()) {
		t.Errorf("%d objects, the document has %d", len(documented()), len(sections))
	}
	for _, v := range documented() {
		typ := reflect.TypeOf(v)
		i := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, typ.Name()+"\n") })
		if i < 0 {
			t.Errorf("no section for %s", typ.Name())
			continue
		}
		compareFields(t, typ, sections[i])
	}
}

func compareFields(t *testing.T, typ reflect.Type, section string) {
	t.Helper()
	var told []string
	for _, line := range strings.Split(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
			told = append(told, m[1])
			may := strings.HasPrefix(strings.TrimSpace(cells[2]), "*optional*") || strings.Contains(cells[2], "`"+m[1]+"`") && strings.Contains(cells[2], "*optional*")
			if may != optional(t, typ, m[1]) && !strings.Contains(cells[2], "as in a Record") {
				t.Errorf("%s.%s: optional is %v, the document says %v", typ.Name(), m[1], !may, may)
			}
		}
	}
	want := fieldNames(typ)
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) {
		t.Errorf("%s has fields %q, the document %q", typ.Name(), want, told)
	}
}

func fieldNames(typ reflect.Type) (out []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			out = append(out, fieldNames(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// optional reports whether a field is absent from an object without content.
func optional(t *testing.T, typ reflect.Type, field string) bool {
	t.Helper()
	line, err := json.Marshal(reflect.Zero(typ).Interface())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	_, there := got[field]
	return !there
}

// TestDoctor: what the daemon tells of the kernel arrives whole, and a daemon
// that tells nothing says so.
func TestDoctor(t *testing.T) {
	f := serve(t, 0)
	client := NewClient(f.dir)
	got, err := client.Doctor(t.Context())
	if want := f.doctor(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

func (f *fixture) doctor() Doctor {
	return Doctor{Tier: "test", WhyNotBetter: []string{"exact: no sock_send_length"}, Mechanisms: []Mechanism{{"bytes", "a", "b"}}, Kernel: "6.18.0", Machine: "x86_64", Lockdown: "none",
		Cgroup2: "/sys/fs/cgroup", Features: []Feature{{"btf", "no", "not there\x1b[31m", "nothing works"}}}
}
