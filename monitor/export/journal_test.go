package export

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// journalServer is the journal's end: it reads entries as its protocol says.
func journalServer(t *testing.T) (path string, next func() map[string]string) {
	path = filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return path, func() map[string]string {
		t.Helper()
		buf, oob := make([]byte, 1<<20), make([]byte, 256)
		n, oobn, _, _, err := l.ReadMsgUnix(buf, oob)
		must(t, err)
		entry := buf[:n]
		if n == 0 {
			entry = passed(t, oob[:oobn])
		}
		return fields(t, entry)
	}
}

func passed(t *testing.T, oob []byte) []byte {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(oob)
	must(t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(t, err)
	f := os.NewFile(uintptr(fds[0]), "entry")
	defer f.Close()
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_WRITE == 0 {
		t.Errorf("the entry can still be changed: %x %v", seals, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<24))
	must(t, err)
	return b
}

func fields(t *testing.T, b []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			t.Fatalf("no end in %q", b)
		}
		if name, value, ok := strings.Cut(string(line), "="); ok {
			out[name], b = value, rest
			continue
		}
		n := binary.LittleEndian.Uint64(rest)
		out[string(line)] = string(rest[8 : 8+n])
		if rest[8+n] != '\n' {
			t.Fatalf("value of %s does not end", line)
		}
		b = rest[9+n:]
	}
	return out
}

// TestJournal: entries arrive with their fields; what a process calls itself adds
// none, and an entry that is too long for a datagram comes in a sealed file.
func TestJournal(t *testing.T) {
	path, next := journalServer(t)
	out := NewJournal(path)
	defer out.Close()
	i := connectionItem()
	i.Connection.Name = "evil\nSNITCH_ACTION=allow\nPRIORITY=0"
	if n, err := out.Write(t.Context(), []Item{*i}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	got := next()
	for name, want := range map[string]string{"PRIORITY": "6", "SYSLOG_IDENTIFIER": "snitch", "SNITCH_MESSAGE": "connection", "SNITCH_EXE": "/usr/bin/curl",
		"SNITCH_RPORT": "443", "SNITCH_ACTION": "none", "SNITCH_NAME": i.Connection.Name} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	i.Connection.Cmdline = strings.Repeat("x", 600_000)
	if n, err := out.Write(t.Context(), []Item{*i}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := next(); len(got["SNITCH_CMDLINE"]) != 600_000 {
		t.Errorf("%d bytes came", len(got["SNITCH_CMDLINE"]))
	}
}

// TestJournalAway: without a journal items are lost and counted, and when it is
// there again they arrive.
func TestJournalAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	out := NewJournal(path)
	defer out.Close()
	if n, err := out.Write(t.Context(), []Item{*connectionItem()}); n != 0 || err == nil {
		t.Errorf("%d %v", n, err)
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer l.Close()
	if n, err := out.Write(t.Context(), []Item{*connectionItem()}); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}
