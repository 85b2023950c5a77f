package rule

import "snitch/monitor/event"

const inputVersion = 1

// Input is facts as custom Rego sees them and as JSON shows them: the key paths
// of a test's facts. What is unknown is left out. InputSchema describes it; the
// evaluator adds nets, lists, matches and verdict.
func Input(f *Facts) map[string]any {
	process := subjectInput(&f.Process)
	if len(f.Ancestors) > 0 {
		var above []any
		for i := range f.Ancestors {
			above = append(above, subjectInput(&f.Ancestors[i]))
		}
		process["parent"], process["ancestors"] = above[0], above
	}
	out := map[string]any{"v": inputVersion, "process": process, "direction": f.Direction.String()}
	for name, e := range map[string]*Endpoint{"from": &f.From, "to": &f.To} {
		if in := endInput(e, f.Proto); len(in) > 0 {
			out[name] = in
		}
	}
	if len(f.Novelty) > 0 {
		var novelty []any
		for _, n := range f.Novelty {
			novelty = append(novelty, n.String())
		}
		out["novelty"] = novelty
	}
	return out
}

func subjectInput(s *Subject) map[string]any {
	out := map[string]any{}
	for name, text := range map[string]string{
		"exe": s.Exe, "sha256": s.SHA256.String(), "name": s.Name, "script": s.Script, "script_sha256": s.ScriptSHA256.String(),
		"cmdline": s.Cmdline, "user": s.User, "cgroup": s.Cgroup, "unit": s.Unit, "container": s.Container, "package": s.Package,
	} {
		if text != "" {
			out[name] = text
		}
	}
	if s.Kind != event.ExecutableInvalid {
		out["kind"] = s.Kind.String()
	}
	if s.HasUID {
		out["uid"] = s.UID
	}
	return out
}

func endInput(e *Endpoint, proto string) map[string]any {
	out := map[string]any{}
	if e.Addr.IsValid() {
		out["ip"] = e.Addr.String()
		out["scope"] = ScopeOf(e.Addr).String()
	}
	if e.HasPort {
		out["port"] = e.Port
	}
	if e.Country != "" {
		out["country"] = e.Country
	}
	if len(e.Names) > 0 {
		var names []any
		for _, n := range e.Names {
			names = append(names, map[string]any{"domain": n.Domain, "source": n.Source.String(), "trusted": n.Trusted})
		}
		best := e.Names[0]
		out["names"], out["domain"], out["domain_source"], out["trusted"] = names, best.Domain, best.Source.String(), best.Trusted
	}
	if len(out) > 0 && proto != "" {
		out["proto"] = proto
	}
	return out
}
