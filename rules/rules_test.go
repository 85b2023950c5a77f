package rules

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"snitch/policy/lint"
	"snitch/policy/report"
	"snitch/policy/rule"
	"snitch/policy/suite"
)

// enoughKilled is the least mutation score of shipped tests, in percent.
const enoughKilled = 90

// shipped are the sets as docs/rule-sets.md says to use them: each alone or
// beside those that it needs.
var shipped = []struct {
	name  string
	files []string
	// findings are the warnings that are meant.
	findings []string
}{
	{name: "audit", files: []string{"audit.yaml"}, findings: []string{"unconditional-allow everything-else"}},
	{name: "desktop", files: []string{"audit.yaml", "desktop.yaml"}, findings: []string{"unconditional-allow everything-else"}},
	{name: "kernel", files: []string{"kernel.yaml"}},
	{name: "server", files: []string{"kernel.yaml", "server.yaml"}},
	{name: "ci-runner", files: []string{"ci-runner.yaml", "kernel.yaml", "server.yaml"}},
}

// TestSets loads each set as people use it, and runs the tests beside it.
func TestSets(t *testing.T) {
	for _, set := range shipped {
		t.Run(set.name, func(t *testing.T) {
			var names []string
			for _, f := range set.files {
				names = append(names, f, strings.TrimSuffix(f, ".yaml")+"_test.yaml")
			}
			l, err := rule.LoadFiles(Files(), names, rule.Options{})
			if err != nil {
				t.Fatal(err)
			}
			prove(t, l, set.findings)
		})
	}
}

// prove holds rules to what docs/rule-sets.md promises: no warning but those that
// are meant, tests that pass, that cover every rule, and that notice mistakes.
func prove(t *testing.T, l *rule.Loaded, findings []string) {
	t.Helper()
	if got := complaints(l); !cmp.Equal(got, findings) {
		t.Errorf("policy check, -got +want:\n%s", cmp.Diff(got, findings))
	}
	opa, err := suite.NewOPA(t.Context(), l.Set)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := suite.Run(t.Context(), suite.Config{Set: l.Set, Tests: l.Tests, Voter: opa, Now: time.Now(), MinCoverage: 100, RequireTests: true, Mutate: true})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK() || len(rep.Results) < 2*len(l.Set.Rules) {
		t.Errorf("%d of %d cases of %d rules failed:\n%s", rep.Failed(), len(rep.Results), len(l.Set.Rules), pretty(t, rep))
	}
	if rep.Mutation.Score() < enoughKilled {
		t.Errorf("mutation score %.1f %%, want %d %%:\n%s", rep.Mutation.Score(), enoughKilled, pretty(t, rep))
	}
	t.Logf("%d rules, %d cases, mutation score %.1f %% (%d of %d)", len(l.Set.Rules)+len(l.Set.Confine), len(rep.Results),
		rep.Mutation.Score(), rep.Mutation.Killed, rep.Mutation.Total())
}

// complaints are what policy check calls an error or a warning, and rules without
// a reason: whoever reads an alert asks for one.
func complaints(l *rule.Loaded) (out []string) {
	for _, f := range lint.Check(l.Set, lint.Config{Now: time.Now(), Warnings: l.Warnings}) {
		if f.Level != report.Info || f.Check == lint.CheckReason || f.Check == lint.CheckDuplicate || f.Check == lint.CheckUnusedList {
			out = append(out, f.Check+" "+f.Rule)
		}
	}
	return out
}

func pretty(t *testing.T, rep *suite.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := suite.Pretty(&out, report.Place{}, report.Style{}, false, rep); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestEveryCaseSaysAll: a case that leaves out what matched would not notice a rule
// that matches too much. Where no rule wins, none has matched but one of mode audit.
func TestEveryCaseSaysAll(t *testing.T) {
	for name, src := range yamlFiles(t, Files()) {
		if !strings.HasSuffix(name, "_test.yaml") {
			continue
		}
		l, err := rule.Parse(name, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range l.Tests {
			for _, c := range f.Cases {
				if c.Expect.Rule == "" || c.Expect.Matches == nil && c.Expect.Rule != rule.None {
					t.Errorf("%s: case %q does not say which rule wins and which match", c.Pos, c.Name)
				}
			}
		}
	}
}

// TestFormat wants every file in the canonical form.
func TestFormat(t *testing.T) {
	for name, src := range yamlFiles(t, Files()) {
		inForm(t, name, src)
	}
}

// TestEverySetIsProven finds a file that no set of TestSets has.
func TestEverySetIsProven(t *testing.T) {
	proven := map[string]bool{}
	for _, set := range shipped {
		for _, f := range set.files {
			proven[f], proven[strings.TrimSuffix(f, ".yaml")+"_test.yaml"] = true, true
		}
	}
	for name := range yamlFiles(t, Files()) {
		if !proven[name] {
			t.Errorf("%s is in no set", name)
		}
	}
}

// TestWorkedExample holds the repository of docs/gitops to what its own CI asks.
func TestWorkedExample(t *testing.T) {
	dir := os.DirFS("../docs/gitops/rules")
	l, err := rule.Load(dir, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	prove(t, l, nil)
	for name, src := range yamlFiles(t, dir) {
		inForm(t, name, src)
	}
}

// TestDocsNameEverySet keeps the list in docs/rule-sets.md whole.
func TestDocsNameEverySet(t *testing.T) {
	text, err := os.ReadFile("../docs/rule-sets.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range yamlFiles(t, Files()) {
		if !strings.HasSuffix(name, "_test.yaml") && !bytes.Contains(text, []byte(name)) {
			t.Errorf("docs/rule-sets.md does not say what %s is for", name)
		}
	}
}

func inForm(t *testing.T, name string, src []byte) {
	t.Helper()
	got, err := rule.Format(name, src)
	if err != nil {
		t.Errorf("format %s: %v", name, err)
		return
	}
	if d := cmp.Diff(strings.Split(string(got), "\n"), strings.Split(string(src), "\n")); d != "" {
		t.Errorf("%s is not as snitch policy fmt writes it, -fmt +file:\n%s", name, d)
	}
}

// yamlFiles reads every file of rules and tests.
func yamlFiles(t *testing.T, fsys fs.FS) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".yaml") {
			return err
		}
		out[name], err = fs.ReadFile(fsys, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 2 || !slices.ContainsFunc(slices.Collect(maps.Keys(out)), func(n string) bool { return strings.HasSuffix(n, "_test.yaml") }) {
		t.Fatalf("%d files and no tests: the walk is broken", len(out))
	}
	return out
}

// TestWorkedExampleCI runs the commands of the CI files, as the CI machines do.
func TestWorkedExampleCI(t *testing.T) {
	commands := ciCommands(t)
	if testing.Short() {
		t.Skip("short: builds snitch")
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "snitch"), "../cmd/snitch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build snitch: %v\n%s", err, out)
	}
	work := t.TempDir()
	if err := os.CopyFS(work, os.DirFS("../docs/gitops")); err != nil {
		t.Fatal(err)
	}
	for _, line := range commands {
		sh := exec.CommandContext(t.Context(), "sh", "-ec", line)
		sh.Dir, sh.Env = work, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	if xml, err := os.ReadFile(filepath.Join(work, "report.xml")); err != nil || !bytes.Contains(xml, []byte("<testsuites")) {
		t.Errorf("the report for GitLab: %v\n%.200s", err, xml)
	}
}

// ciCommands are the lines of the CI files that run snitch.
func ciCommands(t *testing.T) (out []string) {
	t.Helper()
	var github struct {
		Jobs map[string]struct{ Steps []struct{ Run string } }
	}
	var gitlab struct{ Policy struct{ Script []string } }
	for file, into := range map[string]any{".github/workflows/policy.yml": &github, ".gitlab-ci.yml": &gitlab} {
		text, err := os.ReadFile(filepath.Join("../docs/gitops", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	lines := gitlab.Policy.Script
	for _, job := range github.Jobs {
		for _, step := range job.Steps {
			lines = append(lines, step.Run)
		}
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "snitch ") {
			out = append(out, line)
		}
	}
	if len(out) != 6 {
		t.Fatalf("%d commands of snitch in the CI files, want check, fmt and test in each of two: %q", len(out), out)
	}
	return out
}

// TestCommentedExample reads the rules that server.yaml shows as a comment: they are
// there to be copied.
func TestCommentedExample(t *testing.T) {
	text, err := fs.ReadFile(Files(), "server.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "\n# Your services.")
	if !ok {
		t.Fatal("server.yaml has no example")
	}
	src := "version: 1\nrules:\n"
	for line := range strings.Lines(example) {
		if rest, ok := strings.CutPrefix(line, "#  "); ok {
			src += "  " + rest
		}
	}
	l, err := rule.Parse("example.yaml", []byte(src))
	if err != nil || len(l.Set.Rules) != 2 {
		t.Errorf("the example does not load: %v\n%s", err, src)
	}
}
