package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the table of architecture: for each package (or "dir/..." for
// all below it) the packages of this module that its non-test files may
// import. A new edge is a change to this table, with its reason beside it.
var mayImport = map[string][]string{
	"bpf":                 {"bpf/features"},
	"bpf/features":        {},
	"bpf/bpftest/...":     {"bpf/features", "bpf/bpftest/..."}, // tests and their tools only
	"monitor/event":       {},
	"monitor/process":     {"monitor/event"},
	"monitor/digest":      {"monitor/event"},
	"monitor/dns":         {"monitor/event"},
	"monitor/geoip":       {"monitor/event"},
	"monitor/owner":       {"monitor/event"},
	"monitor":             {"bpf", "bpf/features", "monitor/event", "monitor/process", "monitor/digest", "monitor/dns", "monitor/geoip", "monitor/owner"},
	"monitor/store":       {"monitor/event", "monitor/store/schema"},
	"monitor/store/query": {"monitor/event", "monitor/store/schema"},
	// The shape of the database, which its writer and its readers must agree on.
	"monitor/store/schema": {},
	"monitor/notify":       {"monitor/event", "monitor/store"},
	// A person's desktop: tests only.
	"monitor/notify/notifytest": {},
	"monitor/export":            {"monitor/event", "monitor/store"},
	// The record on another host; schema: how values are put into columns.
	"monitor/export/remote": {"monitor/event", "monitor/store", "monitor/store/schema"},
	// Database servers: tests only.
	"monitor/export/remote/servertest": {},
	"policy/rule":                      {"monitor/event"},
	"policy/rule/ruletest":             {"monitor/event", "policy/rule"}, // tests only
	"policy/rego":                      {"monitor/event", "policy/rule"},
	// People's own Rego, and the worker process that runs it for the daemon.
	"policy/rego/custom": {"monitor/event", "policy/rule"},
	"policy/table":       {"monitor/event", "policy/rule"},
	"policy/history":     {"monitor/event", "policy/rule", "policy/rego", "policy/table"},
	"policy/lint":        {"monitor/event", "policy/rule", "policy/rego", "policy/rego/custom", "policy/table", "policy/report"},
	// What lint and suite found, in the formats of people and of CI machines.
	"policy/report": {"policy/rule"},
	// Runs the tests that stand beside the rules, and what they cover.
	"policy/suite": {"monitor/event", "policy/rule", "policy/rego", "policy/rego/custom", "policy/table", "policy/report"},
	// Says why a decision is what it is, from the second opinion's matching.
	"policy/explain": {"monitor/event", "policy/rule", "policy/table"},
	// Reads the rules of other products.
	"policy/importer": {"monitor/event", "policy/rule"},
	"policy":          {"monitor/event", "policy/rule", "policy/rego", "policy/rego/custom", "policy/table", "policy/history", "policy/lint", "policy/bundle"},
	"policy/bundle":   {"monitor/event"},
	// Reads rules from raw git objects, which a fetcher without privileges brings.
	"policy/bundle/commit": {"policy/bundle"},
	"policy/reputation":    {"monitor/event"},
	// The rooms below enforce implement its Backend, so they import it; the
	// verdicts are made of the typed rules and their kernel tables.
	"enforce":         {"policy", "policy/rule", "monitor/event"},
	"enforce/verdict": {"bpf", "bpf/features", "enforce", "enforce/cut", "enforce/netns", "policy", "policy/rule", "policy/table", "monitor/event"},
	"enforce/nft":     {"bpf/features", "enforce", "policy", "policy/rule", "policy/table", "monitor/event"},
	// Holding packets and destroying sockets speak netlink and know no rules.
	"enforce/nft/queue": {"enforce/netns"},
	"enforce/cut":       {"enforce/netns"},
	"enforce/netns":     {},
	// Tries to send past a deny: tests only.
	"enforce/evasion": {},
	"rules":           {},
	// The commands' own rooms never touch the kernel: no bpf, no enforce.
	// The configuration checks places of syslog and of VirusTotal with what reads them.
	"cmd/internal/config": {"monitor/event", "monitor/export", "monitor/export/remote", "policy/reputation", "cmd/internal/text"},
	// What picosnitch left behind, as a configuration and as a record.
	"cmd/internal/config/picosnitch": {"monitor/event", "cmd/internal/config", "cmd/internal/text"},
	"cmd/internal/...":               {"monitor/event", "monitor/store", "monitor/store/query", "policy", "policy/...", "cmd/internal/..."},
	"cmd/snitch":                     {"..."}, // the only wiring
	"tools/...":                      {"..."},
}

// TestImports holds every non-test file of the module against the table.
func TestImports(t *testing.T) {
	root := moduleRoot(t)
	seen := 0
	walkGo(t, root, func(file string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		pkg := filepath.ToSlash(filepath.Dir(file))
		allowed, ok := lookup(pkg)
		if !ok {
			t.Errorf("%s: package %q is not in the table of allowed imports", file, pkg)
			return
		}
		seen++
		for _, imp := range importsOf(t, filepath.Join(root, file)) {
			own, isOwn := strings.CutPrefix(imp, "snitch/")
			if isOwn && own != pkg && !matches(allowed, own) {
				t.Errorf("%s: %s may not import %s", file, pkg, own)
			}
		}
	})
	if seen < 10 {
		t.Fatalf("only %d files found: the walk is broken", seen)
	}
}

// TestNoExecInCore holds the rule that the process which answers the kernel
// never forks: packages that run in the core may not import os/exec. Packages
// named for tests do not, which TestImports holds.
func TestNoExecInCore(t *testing.T) {
	root := moduleRoot(t)
	walkGo(t, root, func(file string) {
		dir := filepath.ToSlash(filepath.Dir(file))
		core := strings.HasPrefix(dir, "monitor") || strings.HasPrefix(dir, "enforce") || strings.HasPrefix(dir, "policy") || dir == "bpf" || dir == "bpf/features"
		if !core || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(dir, "test") {
			return
		}
		if slices.Contains(importsOf(t, filepath.Join(root, file)), "os/exec") {
			t.Errorf("%s imports os/exec: the core never forks (the broker does)", file)
		}
	})
}

// skipReasons are how a skip may begin: it names what is missing, or says that
// the test is long. (rapid draws another case.) That a skip is expected on the
// machine at hand is judged by tools/skips.
var skipReasons = []string{"missing feature: ", "short: ", "rapid: "}

// TestSkipsAreNamed finds skips that do not say what is missing.
func TestSkipsAreNamed(t *testing.T) {
	root := moduleRoot(t)
	walkGo(t, root, func(file string) {
		if !strings.HasSuffix(file, "_test.go") || strings.HasPrefix(filepath.ToSlash(file), "cmd/internal/house/") {
			return
		}
		for i, line := range readLines(t, filepath.Join(root, file)) {
			_, reason, skip := strings.Cut(line, "t.Skip")
			named := slices.ContainsFunc(skipReasons, func(r string) bool { return strings.Contains(reason, `("`+r) })
			if skip && !named {
				t.Errorf("%s:%d: bare skip: use bpftest.Need or begin with one of %q", file, i+1, skipReasons)
			}
		}
	})
}

func lookup(pkg string) ([]string, bool) {
	if allowed, ok := mayImport[pkg]; ok {
		return allowed, true
	}
	for p := pkg; p != "."; p = path.Dir(p) {
		if allowed, ok := mayImport[p+"/..."]; ok {
			return allowed, true
		}
	}
	return nil, false
}

func matches(allowed []string, pkg string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		prefix, tree := strings.CutSuffix(a, "...")
		return a == pkg || tree && strings.HasPrefix(pkg+"/", prefix)
	})
}

func importsOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	var out []string
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: import %s: %v", file, spec.Path.Value, err)
		}
		out = append(out, p)
	}
	return out
}

// walkGo calls visit with the path, relative to root, of each Go file.
func walkGo(t *testing.T, root string, visit func(file string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "build") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err == nil {
			visit(rel)
		}
		return err
	})
	if err != nil {
		t.Fatalf("walk %s: %v", root, err)
	}
}
