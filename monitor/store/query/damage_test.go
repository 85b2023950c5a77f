package query_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// FuzzDamaged changes bytes of a database: reading it, and opening it for
// writing, may fail but must not panic or hang.
func FuzzDamaged(f *testing.F) {
	good, conns := goodFile(f)
	for _, edits := range [][]byte{
		{},                               // as it is
		{0, 0, 0, 16, 0xff},              // page size
		{0, 0, 0, 100, 5},                // kind of the first page
		{0, 0, 0, 28, 0, 0, 0, 0, 29, 0}, // page count
		{0, 0, 0x10, 3, 0xff},            // cells of the second page
		{0xff, 0xff, 0xff, 0xff},         // cut
	} {
		f.Add(edits)
	}
	f.Fuzz(func(t *testing.T, edits []byte) { survive(t, damage(good, edits), conns) })
}

// TestDamaged does the same at random: without the instrumentation of the
// fuzzer, which slows SQLite down a hundred times.
func TestDamaged(t *testing.T) {
	good, conns := goodFile(t)
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		var edits []byte
		for range 1 + random.IntN(20) {
			at := random.Uint32() >> 1
			if random.IntN(2) == 0 { // where the structure is: the start of a page
				at = uint32(random.IntN(len(good)/4096)*4096 + random.IntN(120))
			}
			edits = append(binary.BigEndian.AppendUint32(edits, at), byte(random.Uint32()))
		}
		survive(t, damage(good, edits), conns)
	}
}

// goodFile is the content of a small database.
func goodFile(t testing.TB) ([]byte, []event.Connection) {
	t.Helper()
	dir := t.TempDir()
	var conns []event.Connection
	for i := range 300 {
		conns = append(conns, conn(uint64(i+1), time.Unix(int64(1000+i), 0)))
	}
	closeDB(t, written(t, dir, conns))
	good, err := os.ReadFile(filepath.Join(dir, schema.FileName))
	if err != nil {
		t.Fatal(err)
	}
	return good, conns
}

// survive does all that can be done with a database of this content.
func survive(t *testing.T, content []byte, conns []event.Connection) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, schema.FileName)
	if err := os.WriteFile(path, content, 0o640); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	readAll(ctx, path)
	s, err := store.Open(ctx, store.Config{Dir: dir, Group: -1})
	if err == nil {
		s.Append(store.Batch{Time: time.Unix(2000, 0), Connections: conns[:3]})
		_ = s.Flush(ctx) // may fail: damage that the check cannot judge
		_ = s.Maintain(ctx)
		_ = s.Close()
		readAll(ctx, path)
	}
	if ctx.Err() != nil {
		t.Fatal("took too long")
	}
}

// damage applies edits: each is four bytes of position and one of content; the
// position's highest bit cuts the file there.
func damage(good, edits []byte) []byte {
	b := append([]byte(nil), good...)
	for len(edits) >= 4 && len(b) > 0 {
		at := binary.BigEndian.Uint32(edits)
		if at>>31 == 1 {
			return b[:int(at&0x7fffffff)%len(b)]
		}
		if len(edits) == 4 {
			break
		}
		b[int(at)%len(b)] = edits[4]
		edits = edits[5:]
	}
	return b
}

// readAll uses every read; errors are expected.
func readAll(ctx context.Context, path string) {
	db, err := query.Open(ctx, path, users)
	if err != nil {
		return
	}
	fs, err := query.Parse([]string{"ancestor.exe~sh", "domain=.org", "cmdline!~x"})
	if err != nil {
		panic(err)
	}
	for _, q := range []query.Query{{}, {Filters: fs, Order: query.NewestFirst}} {
		_ = db.Connections(ctx, q, func(event.Record) error { return nil })
		_ = db.Execs(ctx, q, func(query.Exec) error { return nil })
	}
	for _, by := range append(groupFields(), query.ByTime) {
		for _, filters := range []query.Filters{nil, fs[:1]} {
			_, _ = db.Group(ctx, query.GroupQuery{By: []string{by}, Filters: filters})
		}
	}
	_, _ = db.Runs(ctx)
	_, _ = db.Losses(ctx, time.Time{}, time.Time{}, 0)
	_ = db.Close()
}
