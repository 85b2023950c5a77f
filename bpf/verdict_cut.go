package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf/link"
)

// Forbidden hands over every open connection whose peer the tables in use deny;
// what they cannot tell is not among them. e is valid only during the call.
//
// Where the kernel cannot list sockets by their storage, those are listed that a
// process holds a descriptor of. One that waits to be accepted, is on its way to
// another process or known to io_uring alone is not among them there.
func (v *Verdicts) Forbidden(handle func(e *VerdictEvent)) error {
	name, options := "verdict_cut", link.IterOptions{Map: v.coll.Maps["sockets"]}
	if v.coll.Programs[name] == nil {
		name, options.Map = "verdict_cut_files", nil
		handle = once(handle)
	}
	options.Program = v.coll.Programs[name]
	if options.Program == nil {
		return nil
	}
	it, err := link.AttachIter(options)
	if err != nil {
		return fmt.Errorf("attach %s: %w", name, err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer r.Close()
	if err := readEvents(r, handle); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func readEvents(r io.Reader, handle func(e *VerdictEvent)) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		var e VerdictEvent
		_, err := io.ReadFull(in, unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)))
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		handle(&e)
	}
}

// once hands over each socket once, however many descriptors name it.
func once(handle func(e *VerdictEvent)) func(e *VerdictEvent) {
	seen := map[VerdictEvent]struct{}{}
	return func(e *VerdictEvent) {
		socket := VerdictEvent{Cookie: e.Cookie, Netns: e.Netns, Proto: e.Proto,
			Laddr: e.Laddr, Raddr: e.Raddr, Lport: e.Lport, Rport: e.Rport}
		if _, again := seen[socket]; again {
			return
		}
		seen[socket] = struct{}{}
		handle(e)
	}
}
