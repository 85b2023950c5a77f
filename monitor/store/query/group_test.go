package query_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// keyOf is the naive form of grouping: the key of a record, from its text.
func keyOf(field string, r *event.Record) string {
	up, name, levels := &r.Ancestor, field, map[string]*event.Ancestor{"parent": r.Parent, "grandparent": r.Grandparent}
	if level, rest, ok := strings.Cut(field, "."); ok {
		if up, name = levels[level], rest; up == nil {
			return ""
		}
	}
	port := r.RPort
	if r.Direction != "out" {
		port = r.LPort
	}
	existing := "no"
	if r.Existing {
		existing = "yes"
	}
	return map[string]string{"exe": up.Exe, "package": up.Package, "exe_view": up.ExeView, "name": up.Name, "cmdline": up.Cmdline, "sha256": up.SHA256,
		"script": r.Script, "script_sha256": r.ScriptSHA256, "raddr": r.RAddr, "laddr": r.LAddr, "rport": fmt.Sprint(r.RPort), "lport": fmt.Sprint(r.LPort),
		"service": fmt.Sprintf("%s/%d", r.Proto, port), "domain": r.Domain, "sni": r.SNI, "country": r.Country, "host": r.Host, "uid": fmt.Sprint(r.UID), "user": r.User,
		"unit": r.Unit, "container": r.Container, "cgroup": r.Cgroup, "netns": fmt.Sprint(r.NetNS), "pid": fmt.Sprint(r.PID), "direction": r.Direction,
		"result": r.Result, "domain_source": r.DomainSource, "existing": existing, "family": r.Family, "proto": r.Proto, "action": r.Action, "would": r.Would,
		"mode": r.Mode, "rule": r.Rule, "revision": r.Revision}[name]
}

// grouped is the naive form of Group, by key.
func grouped(all []event.Record, by []string, filters query.Filters) map[string]query.GroupRow {
	out := map[string]query.GroupRow{}
	for i := range all {
		r := &all[i]
		if !filters.Match(r) {
			continue
		}
		var keys []string
		for _, f := range by {
			keys = append(keys, keyOf(f, r))
		}
		g := out[strings.Join(keys, "\x01")]
		g.Keys = keys
		g.Connections++
		g.Sent += r.Sent
		g.Received += r.Received
		if r.Action == "deny" {
			g.Denied++
		} else if r.Would == "deny" {
			g.WouldDeny++
		}
		out[strings.Join(keys, "\x01")] = g
	}
	return out
}

// groupFields are the names that can be grouped by, but time.
func groupFields() (out []string) {
	for _, f := range query.Fields() {
		if f.Group {
			out = append(out, f.Name)
		}
	}
	return out
}

// genTraffic makes connections whose sums do not overflow.
func genTraffic(rt *rapid.T, most int) []event.Connection {
	conns := genConnections(rt, most)
	for i := range conns {
		conns[i].Sent, conns[i].Received = conns[i].Sent>>16, conns[i].Received>>16
	}
	return conns
}

// TestGroupAgrees: groups are the sums over the connections, whether they come
// from rows or from rollups, whatever is filtered.
func TestGroupAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		conns := genTraffic(rt, 8)
		db := inBlocks(t, tempDir(t, rt), conns)
		defer closeDB(t, db)
		all := records(conns)
		for range 10 {
			by := rapid.SliceOfNDistinct(rapid.SampledFrom(groupFields()), 1, 2, rapid.ID).Draw(rt, "by")
			filters := rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(genFilter(), 1, 2)).Draw(rt, "filters")
			fs, err := query.Parse(filters)
			if err != nil {
				continue
			}
			groups, err := db.Group(t.Context(), query.GroupQuery{By: by, Filters: fs})
			if err != nil {
				rt.Fatal(err)
			}
			got := map[string]query.GroupRow{}
			for _, g := range groups.Rows {
				g.Details, g.First, g.Last = nil, time.Time{}, time.Time{}
				got[strings.Join(g.Keys, "\x01")] = g
			}
			want := grouped(all, by, fs)
			if diff := gocmp.Diff(got, want); diff != "" {
				rt.Fatalf("by %q, filters %q: groups (-) are not the sums of the connections (+):\n%s", by, filters, diff)
			}
			if n := len(want); groups.Count != n || groups.More {
				rt.Fatalf("count %d, more %v: want %d", groups.Count, groups.More, n)
			}
		}
	})
}

// TestFilterFor: the filter of a group selects that group.
func TestFilterFor(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		conns := genTraffic(rt, 6)
		for i := range conns { // as package dns makes names
			conns[i].Name.Domain, conns[i].Name.SNI = strings.Trim(strings.ToLower(conns[i].Name.Domain), "."), strings.Trim(strings.ToLower(conns[i].Name.SNI), ".")
			conns[i].Country = ""
			conns[i].Remote = netip.AddrPortFrom(conns[i].Remote.Addr().WithZone(""), conns[i].Remote.Port())
			conns[i].Local = netip.AddrPortFrom(conns[i].Local.Addr().WithZone(""), conns[i].Local.Port())
			conns[i].Direction = event.Direction(1 + i%3)
			conns[i].Result, conns[i].Decision.Mode = event.ResultClosed, event.ModeAudit
			conns[i].Decision.Action, conns[i].Decision.Would = min(conns[i].Decision.Action, event.ActionUndecided), min(conns[i].Decision.Would, event.ActionUndecided)
		}
		db := inBlocks(t, tempDir(t, rt), conns)
		defer closeDB(t, db)
		for _, by := range groupFields() {
			groups, err := db.Group(t.Context(), query.GroupQuery{By: []string{by}})
			if err != nil {
				rt.Fatal(err)
			}
			for _, g := range groups.Rows {
				filter := query.FilterFor(by, g.Keys[0])
				fs, err := query.Parse([]string{filter})
				if err != nil {
					rt.Fatalf("filter of group %q by %s: %v", g.Keys[0], by, err)
				}
				var n uint64
				for _, r := range selected(t, db, query.Query{Filters: fs}) {
					if n++; keyOf(by, &r) != g.Keys[0] {
						rt.Fatalf("%s selects a connection with %q", filter, keyOf(by, &r))
					}
				}
				if n != g.Connections {
					rt.Fatalf("%s selects %d connections, the group has %d", filter, n, g.Connections)
				}
			}
		}
	})
}

// TestGroupOrder pins down orders, pages, details and the total.
func TestGroupOrder(t *testing.T) {
	conns := make([]event.Connection, 12)
	for i := range conns {
		c := conn(uint64(i+1), time.Unix(int64(1000+60*i), 0))
		c.UID, c.Sent, c.Received = uint32(1000+i%4*9), uint64(100*(i%4)), uint64(10*(4-i%4))
		conns[i] = c
	}
	conns[3].Decision.Action, conns[7].Decision.Would = event.ActionDeny, event.ActionDeny
	db := written(t, t.TempDir(), conns)
	defer closeDB(t, db)
	for _, tc := range []struct {
		name string
		q    query.GroupQuery
		want string
	}{
		{"total", query.GroupQuery{By: []string{"uid"}, Desc: true}, "1027:3 1018:3 1009:3 1000:3"},
		{"ascending", query.GroupQuery{By: []string{"uid"}}, "1000:3 1009:3 1018:3 1027:3"},
		{"received", query.GroupQuery{By: []string{"uid"}, Order: query.OrderReceived, Desc: true}, "1000:3 1009:3 1018:3 1027:3"},
		{"sent", query.GroupQuery{By: []string{"uid"}, Order: query.OrderSent, Desc: true, Limit: 2}, "1027:3 1018:3 …"},
		{"page", query.GroupQuery{By: []string{"uid"}, Order: query.OrderSent, Desc: true, Limit: 2, Offset: 1}, "1018:3 1009:3 …"},
		{"last page", query.GroupQuery{By: []string{"uid"}, Order: query.OrderSent, Desc: true, Limit: 3, Offset: 3}, "1000:3"},
		{"behind the end", query.GroupQuery{By: []string{"uid"}, Offset: 9}, ""},
		{"name", query.GroupQuery{By: []string{"rport", "uid"}, Order: query.OrderName, Desc: true, Limit: 1}, "443,1027:3 …"},
		{"last", query.GroupQuery{By: []string{"sha256", "uid"}, Order: query.OrderLast, Desc: true, Limit: 1}, "0100000000000000000000000000000000000000000000000000000000000000,1027:3 …"},
		{"numbers before words", query.GroupQuery{By: []string{"rport"}, Order: query.OrderName}, "443:12"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			groups, err := db.Group(t.Context(), tc.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range groups.Rows {
				got = append(got, fmt.Sprintf("%s:%d", strings.Join(g.Keys, ","), g.Connections))
			}
			if groups.More {
				got = append(got, "…")
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("%s, want %s", s, tc.want)
			}
			if groups.Total.Connections != 12 || groups.Total.Sent != 1800 || groups.Total.Denied != 1 || groups.Total.WouldDeny != 1 {
				t.Errorf("total %+v", groups.Total)
			}
		})
	}
	users, err := db.Group(t.Context(), query.GroupQuery{By: []string{"uid"}, Order: query.OrderName})
	if err != nil || users.Rows[0].Details[0] != "bob" || !users.Rows[0].First.Equal(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) || users.Rows[0].Last.Sub(users.Rows[0].First) != 59*time.Second {
		t.Errorf("users: %+v (%v)", users.Rows, err)
	}
}

func TestGroupErrors(t *testing.T) {
	db := written(t, t.TempDir(), []event.Connection{conn(1, time.Unix(1000, 0))})
	defer closeDB(t, db)
	for _, tc := range []struct {
		q    query.GroupQuery
		want string
	}{
		{query.GroupQuery{}, "0 fields, want 1 to 2"},
		{query.GroupQuery{By: []string{"exe", "exe"}}, `"exe" twice`},
		{query.GroupQuery{By: []string{"exee"}}, `no field "exee" (did you mean "exe"?)`},
		{query.GroupQuery{By: []string{"matches"}}, "more than one matches"},
		{query.GroupQuery{By: []string{"ancestor.exe"}}, "more than one ancestor.exe"},
		{query.GroupQuery{By: []string{"exe"}, Limit: -1}, "out of bounds"},
		{query.GroupQuery{By: []string{"exe"}, Limit: 1 << 30}, "out of bounds"},
		{query.GroupQuery{By: []string{"exe"}, Offset: -1}, "out of bounds"},
	} {
		if _, err := db.Group(t.Context(), tc.q); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %s", tc.q, err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Group(ctx, query.GroupQuery{By: []string{"exe"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
