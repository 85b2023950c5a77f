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
// A kernel that cannot list them (5.10) hands over none.
func (v *Verdicts) Forbidden(handle func(e *VerdictEvent)) error {
	if v.coll.Programs["verdict_cut"] == nil {
		return nil
	}
	it, err := link.AttachIter(link.IterOptions{Program: v.coll.Programs["verdict_cut"], Map: v.coll.Maps["sockets"]})
	if err != nil {
		return fmt.Errorf("attach verdict_cut: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("open verdict_cut: %w", err)
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		var e VerdictEvent
		_, err := io.ReadFull(in, unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)))
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read verdict_cut: %w", err)
		}
		handle(&e)
	}
}
