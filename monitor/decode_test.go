package monitor

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"snitch/bpf"
	"snitch/monitor/event"
)

// raw is the memory of a record with what follows it.
func raw[T any](rec *T, rest ...byte) []byte {
	return append(bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(rec)), unsafe.Sizeof(*rec))), rest...)
}

func cString(dst []int8, s string) {
	for i := range len(s) {
		dst[i] = int8(s[i])
	}
}

func header(kind uint16) bpf.Record { return bpf.Record{Type: kind, Time: 42} }

func execRecord(args string) []byte {
	r := bpf.ExecRecord{Hdr: header(bpf.RecordExec), Id: bpf.ProcessId{Start: 1, Pid: 2, Exec: 3}, Uid: 1000, Nlink: 1,
		File: bpf.FileId{Dev: 5, Inode: 6, Size: 7, Mtime: 8, Ctime: 9, Generation: 10}, Flags: bpf.ExecArgsCut, ArgsLen: uint32(len(args))}
	cString(r.Comm[:], "sixteen-bytes-xx")
	cString(r.Filename[:], "/bin/x")
	return raw(&r, []byte(args)...)
}

func payloadRecord(data string) []byte {
	r := bpf.PayloadRecord{Hdr: header(bpf.RecordPayload), Kind: bpf.PayloadTLS, Proto: event.ProtoTCP, Rport: 443,
		Raddr: netip.MustParseAddr("192.0.2.7").As16(), WireLen: 9000, DataLen: uint32(len(data))}
	return raw(&r, []byte(data)...)
}

func TestDecode(t *testing.T) {
	got, err := decode(execRecord("x\x00\x00a b\x00cut"))
	if err != nil {
		t.Fatal(err)
	}
	want := event.Exec{ID: event.ProcessID{PID: 2, Exec: 3, Start: 1}, Boot: 42, UID: 1000, Links: 1,
		File: event.FileID{Dev: 5, Inode: 6, Size: 7, Mtime: 8, Ctime: 9, Generation: 10, HasGeneration: true}, Filename: "/bin/x", Interp: "/bin/x",
		Comm: "sixteen-bytes-xx", Args: []string{"x", "", "a b", "cut"}, ArgsCut: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exec record (-want +got):\n%s", diff)
	}
	v, err := decode(payloadRecord("\x16\x03\x01"))
	if err != nil {
		t.Fatal(err)
	}
	p := v.(event.Payload)
	if p.Remote != netip.MustParseAddrPort("192.0.2.7:443") || p.Local.IsValid() || string(p.Data) != "\x16\x03\x01" || p.Length != 9000 || p.Kind != event.PayloadTLS {
		t.Errorf("payload record: got %+v", p)
	}
	v, err = decode(raw(&bpf.ForkRecord{Hdr: header(bpf.RecordFork), Child: bpf.ProcessId{Pid: 9}, Parent: bpf.ProcessId{Pid: 8}}))
	if f, ok := v.(event.Fork); err != nil || !ok || f.Child.PID != 9 || f.Parent.PID != 8 {
		t.Errorf("fork record: got %+v, %v", v, err)
	}
	v, err = decode(raw(&bpf.ExitRecord{Hdr: header(bpf.RecordExit), Id: bpf.ProcessId{Pid: 9}}))
	if e, ok := v.(event.Exit); err != nil || !ok || e.ID.PID != 9 {
		t.Errorf("exit record: got %+v, %v", v, err)
	}
}

// TestDecodeRefuses cuts each record everywhere, and lies about lengths.
func TestDecodeRefuses(t *testing.T) {
	for name, whole := range map[string][]byte{
		"exec": execRecord("a\x00b\x00"), "payload": payloadRecord("data"),
		"fork": raw(&bpf.ForkRecord{Hdr: header(bpf.RecordFork)}), "exit": raw(&bpf.ExitRecord{Hdr: header(bpf.RecordExit)}),
	} {
		for n := range whole {
			if v, err := decode(whole[:n:n]); !errors.Is(err, errShort) {
				t.Fatalf("%s record cut to %d of %d bytes: got %+v, %v", name, n, len(whole), v, err)
			}
		}
	}
	if v, err := decode(raw(&bpf.Record{Type: 99})); err == nil {
		t.Errorf("unknown type: got %+v", v)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(execRecord("curl\x00https://example.org\x00"))
	f.Add(payloadRecord("\x16\x03\x01\x02\x00"))
	f.Add(raw(&bpf.ForkRecord{Hdr: header(bpf.RecordFork)}))
	f.Add(raw(&bpf.ExitRecord{Hdr: header(bpf.RecordExit)}))
	f.Add(raw(&bpf.Record{Type: bpf.RecordWake}))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if (v == nil) == (err == nil) {
			t.Fatalf("decode: got %+v and %v", v, err)
		}
		if e, ok := v.(event.Exec); ok && len(e.Filename)+len(e.Interp)+len(e.Comm) > 256+256+16 {
			t.Fatal("strings are longer than their fields")
		}
	})
}
