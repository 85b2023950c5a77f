package main

import (
	"fmt"
	"strings"
)

// policyTitle is that of the section which -policy measures alone.
const policyTitle = "Policy"

// policyBenchmarks are those of package policy and below, each a fraction of a
// minute: percentiles need no long runs.
var policyBenchmarks = []goBenchmark{
	{"snitch/policy", "^BenchmarkDecide$", "0.3s", "", decideRow},
	{"snitch/policy", "^BenchmarkSwap$", "3x", "", swapRow},
	{"snitch/policy", "^BenchmarkList$", "1x", "", listRow},
	{"snitch/policy/rego/custom", "^BenchmarkPool$", "0.5s", "", poolRow},
	{"snitch/cmd/snitch", "^BenchmarkHistory$", "1x", "SNITCH_BENCH_ROWS=200000", historyRow},
}

var deciders = map[string]string{"opa": "OPA, no two connections alike", "cached": "decided before", "table": "the native tables", "kernel": "emulated kernel maps"}

// aims are in µs, by decider and number of rules.
var aims = map[string]string{"opa 1000": "p50 ≤ 30 µs", "opa 10000": "p50 ≤ 100 µs", "cached 10": "p50 ≤ 0.15 µs", "cached 100": "p50 ≤ 0.15 µs",
	"cached 1000": "p50 ≤ 0.15 µs", "cached 10000": "p50 ≤ 0.15 µs"}

func decideRow(name string, v map[string]string) []string {
	_, rest, _ := strings.Cut(name, "/")
	who, rules, _ := strings.Cut(rest, "/rules=")
	aim := aims[who+" "+rules]
	if aim == "" {
		aim = "–"
	}
	return []string{"decision, " + deciders[who], rules + " rules", fmt.Sprintf("p50 %s µs, p99 %s µs", v["p50-µs"], v["p99-µs"]), aim}
}

func swapRow(name string, v map[string]string) []string {
	_, rules, _ := strings.Cut(name, "=")
	return []string{"reload", rules + " rules", fmt.Sprintf("read %s ms, compile %s ms, swap %s µs; holds %s MB", v["read-ms"], v["compile-ms"], v["swap-µs"], v["MB"]), "–"}
}

func listRow(_ string, v map[string]string) []string {
	return []string{"list", "1,000,000 names", fmt.Sprintf("load %s ms; holds %s MB; look-up %s ns; decision by OPA p50 %s µs with it, %s µs without", v["load-ms"], v["MB"], v["look-up-ns"], v["with-p50-µs"], v["without-p50-µs"]), "–"}
}

func poolRow(name string, v map[string]string) []string {
	_, batch, _ := strings.Cut(name, "=")
	return []string{"custom Rego in its worker", "batch of " + batch, v["µs/connection"] + " µs/connection", "–"}
}

func historyRow(name string, v map[string]string) []string {
	_, what, _ := strings.Cut(name, "/")
	return []string{"history, " + what, "1,000 rules, 200,000 rows", v["rows/s"] + " rows/s", "≥ 83,333 rows/s"}
}

// policy measures decisions, reloads, lists, custom Rego and history.
func (b *bench) policy(doc *document) error {
	before := loadAverage()
	found, err := rows(policyBenchmarks)
	if err != nil {
		return err
	}
	doc.section(policyTitle, fmt.Sprintf("`make bench-policy`; load average %s before and %s after. A p99 is of single decisions, or of 64 where one is shorter than a look at the clock; the pauses of other processes on the machine are in it.", before, loadAverage()))
	doc.table(append([][]string{{"what", "of", "result", "aim"}}, found...))
	return nil
}

// replaceSection puts section, which begins with its title line, in the place of
// the one of that title in text, or at its end.
func replaceSection(text, title, section string) string {
	begin := strings.Index(text, "\n## "+title+"\n")
	if begin < 0 {
		return text + section
	}
	rest := text[begin+1:]
	end := strings.Index(rest, "\n## ")
	if end < 0 {
		return text[:begin] + section
	}
	return text[:begin] + section + rest[end:]
}
