package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/policy/lint"
	reports "snitch/policy/report"
	"snitch/policy/rule"
	"snitch/policy/suite"
)

// checkLoad names, in reports, what does not load.
const checkLoad = "policy-load"

// rulesHelp says which rules a command means.
const rulesHelp = `
Without a DIR or FILE it is the working directory, if it has rules, else the
configured directory of rules. A test file alone is run against the directory
that it lies in.`

// policyFiles are the rules that a command works on.
type policyFiles struct {
	*rule.Loaded
	place reports.Place // where the directory lies, seen from the working directory
}

// loadPolicy loads what the arguments of a command name: one directory, or
// files.
func loadPolicy(args []string) (*policyFiles, error) {
	if len(args) == 0 {
		args = []string{defaultRules()}
	}
	dirs := 0
	for _, a := range args {
		info, err := os.Stat(a)
		if err != nil {
			return nil, usageError(fmt.Errorf("read rules: %w", err), "name a directory of rules, or files of one")
		}
		if info.IsDir() {
			dirs++
		}
	}
	switch {
	case dirs == 1 && len(args) == 1:
		return loadDir(args[0], nil)
	case dirs > 0:
		return nil, usageError(errors.New("a directory stands alone"), "name one directory, or several files")
	}
	return loadNamed(args)
}

// loadDir loads a directory; with tests, only these files of tests are kept.
func loadDir(dir string, tests []string) (*policyFiles, error) {
	p := &policyFiles{place: reports.Place{Base: fromHere(dir)}}
	loaded, err := rule.LoadDir(dir, rule.Options{})
	if err != nil {
		return p, err
	}
	if len(loaded.Set.Rules)+len(loaded.Set.Confine)+len(loaded.Set.Modules)+len(loaded.Tests) == 0 {
		return p, usageError(fmt.Errorf("%s has no rules", dir), "name the directory that holds them")
	}
	if tests != nil {
		loaded.Tests = slices.DeleteFunc(loaded.Tests, func(t rule.TestFile) bool { return !slices.Contains(tests, t.File) })
	}
	p.Loaded = loaded
	return p, nil
}

// loadNamed loads files, whose common directory their names count from.
func loadNamed(files []string) (*policyFiles, error) {
	base := filepath.Dir(filepath.Clean(files[0]))
	for _, f := range files[1:] {
		for !inside(base, filepath.Clean(f)) {
			base = filepath.Dir(base)
		}
	}
	names := make([]string, len(files))
	onlyTests := true
	for i, f := range files {
		rel, err := filepath.Rel(base, filepath.Clean(f))
		if err != nil {
			return nil, usageError(fmt.Errorf("read rules: %w", err), "name files of one directory")
		}
		names[i] = filepath.ToSlash(rel)
		onlyTests = onlyTests && strings.HasSuffix(strings.TrimSuffix(f, filepath.Ext(f)), "_test")
	}
	if onlyTests {
		return loadDir(base, names)
	}
	p := &policyFiles{place: reports.Place{Base: fromHere(base)}}
	root, err := os.OpenRoot(base)
	if err != nil {
		return p, fmt.Errorf("read rules: %w", err)
	}
	defer root.Close()
	p.Loaded, err = rule.LoadFiles(root.FS(), names, rule.Options{})
	return p, err
}

func inside(dir, file string) bool {
	rel, err := filepath.Rel(dir, file)
	return dir == "." && !filepath.IsAbs(file) && !strings.HasPrefix(file, "..") || err == nil && !strings.HasPrefix(rel, "..") || filepath.Dir(dir) == dir
}

// fromHere is a directory as a reader in the working directory writes it, which
// is what CI annotates files by.
func fromHere(dir string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(dir) {
		return filepath.ToSlash(filepath.Clean(dir))
	}
	rel, err := filepath.Rel(here, dir)
	if err != nil || strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(filepath.Clean(dir))
	}
	return filepath.ToSlash(rel)
}

// defaultRules is the working directory, if it has rules, else the configured
// directory.
func defaultRules() string {
	if hasRules(".") {
		return "."
	}
	if cfg, err := config.Load(defaultConfig); err == nil && cfg.Rules.Dir != "" {
		return cfg.Rules.Dir
	}
	return config.DefaultRules
}

// hasRules looks for a file in dir itself that says so: a working directory may
// hold any YAML, and the top of a repository is not a directory of rules.
func hasRules(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false // what cannot be read has no rules
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		ext := filepath.Ext(e.Name())
		return e.Type().IsRegular() && (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") && speaksOfRules(filepath.Join(dir, e.Name()))
	})
}

// speaksOfRules reports whether a YAML file has a line that begins rules or
// confinements, and one that begins with their version.
func speaksOfRules(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	version, rules := false, false
	s := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for s.Scan() {
		line := s.Bytes()
		version = version || bytes.HasPrefix(line, []byte("version:"))
		rules = rules || bytes.HasPrefix(line, []byte("rules:")) || bytes.HasPrefix(line, []byte("confine:"))
	}
	return version && rules
}

// loadFailure shows what does not load in the format of the command, and ends it
// with 2.
func loadFailure(io stdio, format string, p *policyFiles, err error) error {
	var faults *rule.Errors
	var usage *problem
	switch {
	case errors.As(err, &usage):
		return err
	case !errors.As(err, &faults):
		return usageError(fmt.Errorf("load rules: %w", err), "")
	}
	place := reports.Place{}
	if p != nil {
		place = p.place
	}
	var findings []reports.Finding
	lines := make([]string, len(faults.List))
	for i, f := range faults.List {
		findings = append(findings, reports.Finding{Level: reports.Error, Check: checkLoad, Message: f.Msg, Pos: f.Pos})
		lines[i] = rule.Error{Pos: place.At(f.Pos), Msg: f.Msg}.Error()
	}
	if faults.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", faults.More))
	}
	if err := writeLoadFailure(io, format, place, findings); err != nil {
		return err
	}
	return usageError(errors.New(strings.Join(lines, "\n")), "mend the rules; 'snitch policy schema' describes them to an editor")
}

// writeLoadFailure tells the machine that reads the output: it looks for a
// document there also when nothing could be run.
func writeLoadFailure(io stdio, format string, place reports.Place, findings []reports.Finding) error {
	switch format {
	case "json":
		return reports.JSON(io.out, place, findings)
	case "sarif":
		return reports.SARIF(io.out, place, policyTool(), findings)
	case "github":
		return reports.GitHub(io.out, place, findings)
	case "junit":
		return suite.JUnit(io.out, place, &suite.Report{Problems: findings})
	case "tap":
		return write(io.out, "TAP version 14\nBail out! the rules do not load\n")
	}
	return nil
}

// policyTool names this program and all that it checks.
func policyTool() reports.Tool {
	checks := append([]reports.Check{{ID: checkLoad, Short: "Rules that do not load"}}, suite.Catalogue()...)
	return reports.Tool{Name: "snitch", Version: build().Version, Checks: append(checks, lint.Catalogue()...)}
}

// styleOf is colour on a terminal that wants it.
func styleOf(out io.Writer) reports.Style {
	return reports.Style{Color: newTable(out, shortTime).colour}
}

// completeRules completes directories and files of rules.
func completeRules(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml", "rego"}, cobra.ShellCompDirectiveFilterFileExt
}
