package importer

import (
	"slices"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// blocklist makes one rule and one list of what a group denies to everybody.
// Items that are no hosts are left out: each stands for itself.
func (res *Result) blocklist(f Source, g *littleGroup, names, lists ids) {
	if len(g.DenyDomains)+len(g.DenyHosts)+len(g.DenyAddresses) == 0 {
		return
	}
	var hosts []rule.Host
	var d draft
	left := 0
	for key, items := range map[string]texts{"denied-remote-domains": g.DenyDomains, "denied-remote-hosts": g.DenyHosts, "denied-remote-addresses": g.DenyAddresses} {
		for _, s := range items {
			found, err := littleHost(key, s)
			if err != nil {
				left++
				d.note("left out: %s", err)
				continue
			}
			hosts = append(hosts, found...)
		}
	}
	slices.Sort(d.notes)
	if left > len(d.notes) {
		d.note("%d items in all were left out", left)
	}
	item := Item{File: f.Name, Name: shown(g.Name) + ", blocklist", Notes: d.notes}
	if len(hosts) > 0 {
		list := List{Name: lists.make(g.Name, "blocklist"), Hosts: hosts}
		res.Lists = append(res.Lists, list)
		reason := shown(g.DenyNotes)
		if reason == "" {
			reason = "imported from Little Snitch: " + item.Name
		}
		item.Rule = &rule.Rule{ID: names.make("deny "+g.Name, "blocklist"), Action: event.ActionDeny, Mode: event.ModeEnforce, Reason: reason,
			Match: rule.Match{To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostList, Name: list.Name}}}, Direction: []event.Direction{event.Out}}}
	}
	res.Items = append(res.Items, item)
}
