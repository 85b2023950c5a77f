package digest

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// eventBytes is one event as the kernel writes it.
func eventBytes(length uint32, version byte, header uint16, mask uint64, fd, pid int32) []byte {
	e := binary.NativeEndian
	b := e.AppendUint32(nil, length)
	b = append(b, version, 0)
	b = e.AppendUint16(b, header)
	b = e.AppendUint64(b, mask)
	b = e.AppendUint32(b, uint32(fd))
	return e.AppendUint32(b, uint32(pid))
}

func TestNextEvent(t *testing.T) {
	const v = unix.FANOTIFY_METADATA_VERSION
	two := append(eventBytes(32, v, 24, unix.FAN_OPEN_EXEC, 7, 4711), make([]byte, 8)...)
	two = append(two, eventBytes(24, v, 24, unix.FAN_Q_OVERFLOW, -1, 0)...)
	first, rest, err := nextEvent(two)
	if want := (fanEvent{mask: unix.FAN_OPEN_EXEC, fd: 7, pid: 4711}); err != nil || first != want {
		t.Fatalf("got %+v %v, want %+v", first, err, want)
	}
	second, rest, err := nextEvent(rest)
	if want := (fanEvent{mask: unix.FAN_Q_OVERFLOW, fd: -1}); err != nil || second != want || len(rest) != 0 {
		t.Fatalf("got %+v %d %v, want %+v", second, len(rest), err, want)
	}
	for name, buf := range map[string][]byte{
		"empty":             nil,
		"short":             two[:23],
		"other version":     eventBytes(24, v+1, 24, 0, 3, 1),
		"length zero":       eventBytes(0, v, 24, 0, 3, 1),
		"length too long":   eventBytes(25, v, 24, 0, 3, 1),
		"length huge":       eventBytes(1<<32-1, v, 24, 0, 3, 1),
		"header too short":  eventBytes(24, v, 23, 0, 3, 1),
		"header over event": eventBytes(24, v, 25, 0, 3, 1),
	} {
		if ev, rest, err := nextEvent(buf); err == nil {
			t.Errorf("%s: parsed as %+v, %d bytes left", name, ev, len(rest))
		}
	}
}

func FuzzNextEvent(f *testing.F) {
	const v = unix.FANOTIFY_METADATA_VERSION
	f.Add(eventBytes(24, v, 24, unix.FAN_OPEN_EXEC, 7, 4711))
	f.Add(append(eventBytes(24, v, 24, unix.FAN_MODIFY, 7, 4711), eventBytes(48, v, 24, 0, -1, 0)...))
	f.Add(eventBytes(0, v, 24, 0, 0, 0))
	f.Fuzz(func(t *testing.T, buf []byte) {
		for len(buf) > 0 {
			_, rest, err := nextEvent(buf)
			if err != nil {
				return
			}
			if len(rest) > len(buf)-fanHeader {
				t.Fatalf("%d bytes left of %d: no progress", len(rest), len(buf))
			}
			buf = rest
		}
	})
}

const mountLines = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:55 / /a\040b\134\011x rw master:2 propagate_from:3 - overlay overlay rw,lowerdir=/x
41 27 0:56 /sub /b rw - btrfs /dev/vdb rw
42 27 0:57 / /f rw - fuse.evil a\040-\040b rw
43 27 8:1 / /n rw - fuseblk /dev/sda1 rw
`

func TestParseMountinfo(t *testing.T) {
	broken := "x\n1 2 3:4\n5 6 7 / / rw - ext4 d rw\n8 9 1:99999999999 / / rw - ext4 d rw\n-1 9 1:1 / / rw - ext4 d rw\n"
	got, bad, err := parseMountinfo(strings.NewReader(mountLines + broken))
	if err != nil || bad != 5 {
		t.Fatalf("got %d bad lines, %v, want 5", bad, err)
	}
	want := []mount{
		{id: 22, dev: 21, family: familyUnknown, point: "/proc"},
		{id: 27, dev: 254 << 20, family: familyLocal, point: "/"},
		{id: 40, dev: 55, family: familyStacked, point: "/a b\\\tx"},
		{id: 41, dev: 56, family: familyRenumbered, point: "/b"},
		{id: 42, dev: 57, family: familyForgeable, point: "/f"},
		{id: 43, dev: 8<<20 | 1, family: familyForgeable, point: "/n"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if _, _, err := parseMountinfo(strings.NewReader(strings.Repeat("x", maxMountLine+1))); err == nil {
		t.Error("a line without end was accepted")
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add(mountLines)
	f.Add(`1 2 0:1 / \ rw - x`)
	f.Add(`1 2 0:1 / \04 rw - `)
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := parseMountinfo(strings.NewReader(text))
		if err == nil && len(list) > strings.Count(text, "\n")+1 {
			t.Errorf("%d mounts from %q", len(list), text)
		}
	})
}

func TestParseProcStat(t *testing.T) {
	line := "7 (a) Z 1) S 1 7 7 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0\n"
	got, err := parseProcStat([]byte(line))
	if want := (procStat{state: 'S', flags: 2129984, start: 98765}); err != nil || got != want {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	own, err := readProcStat(uint32(os.Getpid()))
	if err != nil || own.state != 'R' && own.state != 'S' || own.flags&flagKernelThread != 0 || own.start == 0 {
		t.Errorf("own process: %+v %v", own, err)
	}
	thread, err := readProcStat(2)
	if err != nil || thread.flags&flagKernelThread == 0 {
		t.Errorf("kthreadd: %+v %v", thread, err)
	}
}

func FuzzParseProcStat(f *testing.F) {
	f.Add([]byte("7 (a) Z 1) S 1 7 7 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0\n"))
	f.Add([]byte(") S"))
	f.Add([]byte(")\x00 0 0 0 0 0(000 00 0 0 0 0 0 0 0 0 00 0 0 0 0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if st, err := parseProcStat(text); err == nil && st.state == 0 {
			t.Errorf("%q: %+v", text, st)
		}
	})
}

func TestRacy(t *testing.T) {
	now := time.Unix(1_700_000_000, 500_000_000)
	for name, c := range map[string]struct {
		ctime time.Time
		want  bool
	}{
		"this tick":             {now, true},
		"the tick before":       {now.Add(-time.Millisecond), false},
		"long ago":              {now.Add(-time.Hour), false},
		"clock was set back":    {now.Add(time.Hour), true},
		"finer than the tick":   {now.Add(time.Microsecond), true},
		"whole second, young":   {now.Add(-1500 * time.Millisecond), true},
		"whole second, settled": {now.Add(-2500 * time.Millisecond), false},
		"whole second to come":  {now.Add(500 * time.Millisecond), true},
	} {
		if got := racy(c.ctime.UnixNano(), now); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
