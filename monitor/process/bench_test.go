package process

import (
	"os"
	"testing"

	"snitch/monitor/event"
)

// still answers at once, as the cache of the hasher does.
type still struct{}

func (still) Executable(event.HashRequest, func(event.HashResult)) (event.HashResult, bool) {
	return event.HashResult{SHA256: event.Digest{1}, Reason: event.HashKnown}, true
}

func (still) File(string, func(event.HashResult)) (event.HashResult, bool) {
	return event.HashResult{SHA256: event.Digest{1}, Reason: event.HashKnown}, true
}

func benchTable(b *testing.B) *Table {
	b.Helper()
	table, err := New(Config{}, Deps{Hasher: still{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(table.Close)
	return table
}

func BenchmarkExecRunning(b *testing.B) {
	table := benchTable(b)
	e := observed(b, os.Getpid(), 1)
	e.CgroupID = 1 // the v2 root: on a hybrid host the v1 path is read too
	b.ReportAllocs()
	for b.Loop() {
		e.ID.Exec++
		table.Exec(e)
	}
}

func BenchmarkExecGone(b *testing.B) {
	table := benchTable(b)
	e := observed(b, os.Getpid(), 1)
	e.ID.PID, e.Filename = 1<<30, "/bin/true"
	b.ReportAllocs()
	for b.Loop() {
		e.ID.Exec++
		table.Exec(e)
	}
}

func BenchmarkExecScript(b *testing.B) {
	table := benchTable(b)
	e := observed(b, os.Getpid(), 1)
	e.Interp, e.Filename = "/bin/sh", "/etc/passwd"
	b.ReportAllocs()
	for b.Loop() {
		e.ID.Exec++
		table.Exec(e)
	}
}

func BenchmarkForkExit(b *testing.B) {
	table := benchTable(b)
	parent := observed(b, os.Getpid(), 1)
	table.Exec(parent)
	child := parent.ID
	child.PID = 1 << 22
	b.ReportAllocs()
	for b.Loop() {
		child.Start += tickNanos
		table.Fork(event.Fork{Child: child, Parent: parent.ID, Boot: child.Start, Comm: "x"})
		table.Exit(event.Exit{ID: child, Boot: child.Start})
	}
}

func BenchmarkLookupKnown(b *testing.B) {
	table := benchTable(b)
	e := observed(b, os.Getpid(), 1)
	table.Exec(e)
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(e.ID)
	}
}
