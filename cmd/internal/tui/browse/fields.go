package browse

import (
	"slices"

	"snitch/monitor/store/query"
)

// order is the views in the order in which people look for them; the fields
// that are not named here come behind.
var order = []string{
	"exe", "name", "cmdline", "sha256", "domain", "country", "raddr", "rport", "user", "uid",
	"parent.exe", "parent.name", "parent.cmdline", "parent.sha256", "grandparent.exe", "grandparent.name", "grandparent.cmdline", "grandparent.sha256",
	"action", "would", "rule", "time", "proto", "direction", "result", "service", "lport", "laddr", "unit", "container", "script", "package",
}

// titles are the names of views for people, where the field's is not one.
var titles = map[string]string{
	"exe": "programs", "name": "names", "cmdline": "commands", "sha256": "hashes", "domain": "domains", "country": "countries",
	"raddr": "addresses", "rport": "remote ports", "lport": "local ports", "laddr": "local addresses", "user": "users", "uid": "user ids",
	"action": "verdicts", "would": "rules would", "rule": "rules", "time": "time", "proto": "protocols", "unit": "units", "container": "containers",
	"script": "scripts", "package": "packages", "result": "results", "direction": "directions", "service": "services",
	"parent.exe": "parents", "parent.name": "parent names", "parent.cmdline": "parent commands", "parent.sha256": "parent hashes",
	"grandparent.exe": "grandparents", "grandparent.name": "grandparent names", "grandparent.cmdline": "grandparent commands",
	"grandparent.sha256": "grandparent hashes",
}

func viewTitle(field string) string {
	if t := titles[field]; t != "" {
		return t
	}
	return field
}

// views lists what the history can be grouped by.
func views() []string {
	can := []string{query.ByTime}
	for _, f := range query.Fields() {
		if f.Group {
			can = append(can, f.Name)
		}
	}
	var out []string
	for _, name := range order {
		if slices.Contains(can, name) {
			out = append(out, name)
		}
	}
	for _, name := range can {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// below is the view that enter goes to: from who to where, from where to who;
// "" is the connections themselves.
func below(field string, seen []string) string {
	path := []string{"exe", "domain"}
	switch field {
	case "exe", "name", "cmdline", "sha256", "script", "package":
		path = []string{"domain", "raddr"}
	case "domain", "raddr", "country", "rport", "service", "sni":
		path = []string{"exe", "domain"}
	}
	for _, next := range path {
		if next != field && !slices.Contains(seen, next) {
			return next
		}
	}
	return ""
}
