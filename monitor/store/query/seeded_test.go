package query_test

import (
	"context"
	"os"
	"testing"
	"time"

	"snitch/monitor/store/query"
	"snitch/tools/seed/record"
)

// seededDir names, in the environment, a directory with a record that
// tools/seed made: for more connections than one wants to wait for.
const seededDir = "SNITCH_BENCH_STATE"

// BenchmarkSeeded asks what screens ask, over ranges of a record as real ones
// are: 100,000 connections of 14 days, or those of seededDir.
func BenchmarkSeeded(b *testing.B) {
	dir := os.Getenv(seededDir)
	if dir == "" {
		dir = b.TempDir()
		if err := record.Make(b.Context(), record.Config{Dir: dir, Connections: 100_000, Days: 14, Seed: 1, End: time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)}); err != nil {
			b.Fatal(err)
		}
	}
	db := openDB(b, dir)
	defer closeDB(b, db)
	_, end, _, err := db.Span(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range []struct {
		name  string
		since time.Time
	}{{"day", end.AddDate(0, 0, -1)}, {"week", end.AddDate(0, 0, -7)}, {"month", end.AddDate(0, 0, -30)}, {"all", time.Time{}}} {
		run := func(name string, f func() error) {
			b.Run(r.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		group := func(by []string, filters ...string) func() error {
			fs, err := query.Parse(filters)
			if err != nil {
				b.Fatal(err)
			}
			return func() error {
				_, err := db.Group(context.Background(), query.GroupQuery{By: by, Filters: fs, Since: r.since, Until: end, Desc: true, Limit: 50})
				return err
			}
		}
		run("overview", func() error { _, err := db.Overview(context.Background(), r.since, end); return err })
		run("by-exe", group([]string{"exe"}))
		run("by-domain", group([]string{"domain"}))
		run("by-raddr", group([]string{"raddr"}))
		run("by-time", group([]string{"time"}))
		run("series-exe", func() error {
			_, err := db.Series(context.Background(), query.SeriesQuery{By: "exe", Since: r.since, Until: end})
			return err
		})
		run("series-domain", func() error {
			_, err := db.Series(context.Background(), query.SeriesQuery{By: "domain", Since: r.since, Until: end})
			return err
		})
		run("executables", func() error {
			_, err := db.Executables(context.Background(), query.ExecutableQuery{Since: r.since, Until: end})
			return err
		})
		run("firefox-by-domain", group([]string{"domain"}, "exe=/usr/lib/firefox/firefox"))
		run("domain-by-exe", group([]string{"exe"}, "domain=audio-fa.scdn.co"))
		run("exe-country", group([]string{"exe", "country"}))
		run("denied-by-exe", group([]string{"exe"}, "action=deny"))
		run("by-cmdline", group([]string{"cmdline"}))
	}
}
