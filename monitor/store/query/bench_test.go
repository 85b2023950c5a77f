package query_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
)

// BenchmarkQuery reads a database of 100,000 connections over a day: 40
// programs, 2,000 names, 500 peers.
func BenchmarkQuery(b *testing.B) {
	const rows = 100_000
	dir := b.TempDir()
	s, err := store.Open(b.Context(), store.Config{Dir: dir, Group: -1, MaxPending: rows})
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	procs := make([]*event.Process, 40)
	for i := range procs {
		p := *conn(1, begin).Process
		p.Executable.Path, p.Name = fmt.Sprintf("/usr/bin/program-%d", i), fmt.Sprint("program-", i)
		procs[i] = &p
	}
	for i := range rows {
		at := begin.Add(time.Duration(i) * 864 * time.Millisecond)
		c := conn(uint64(i+1), at)
		c.Process, c.Name.Domain = procs[i%len(procs)], fmt.Sprintf("host%d.example.org", i*7%2000)
		c.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{93, 184, byte(i % 2), byte(i % 250)}), 443)
		s.Append(store.Batch{Time: at, Connections: []event.Connection{c}})
	}
	if err := errors.Join(s.Maintain(b.Context()), s.Close()); err != nil {
		b.Fatal(err)
	}
	db := openDB(b, dir)
	defer closeDB(b, db)
	for _, bench := range []struct {
		name    string
		q       query.Query
		filters []string
	}{
		{"all", query.Query{}, nil},
		{"last-100", query.Query{Limit: 100, Order: query.NewestFirst}, nil},
		{"last-hour", query.Query{Since: begin.Add(23 * time.Hour)}, nil},
		{"one-program", query.Query{}, []string{"exe=/usr/bin/program-7"}},
		{"name-wildcard", query.Query{}, []string{"domain=*9.example.org"}},
		{"network-and-user", query.Query{}, []string{"raddr=93.184.1.0/24", "user=bob", "rport!=443"}},
		{"no-match", query.Query{}, []string{"cmdline~nowhere"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var err error
			if bench.q.Filters, err = query.Parse(bench.filters); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n = 0
				if err := db.Connections(context.Background(), bench.q, func(event.Record) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "records")
		})
	}
}
