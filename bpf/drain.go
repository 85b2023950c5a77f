package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

const errNoSpace = unix.ENOSPC

// ringHeader precedes every record of a ring; records are multiples of it.
const ringHeader = 8

// Drain hands over what happened since the last Drain: the flows of the
// generation that it swaps out, the sockets that were closed, then the open
// sockets whose state changed. Each Flow is a delta and valid only during the
// call. What happens meanwhile is left for the next Drain; nothing is lost or
// told twice. One goroutine at a time, which is also the one that calls
// DrainOverflow.
func (k *Kernel) Drain(handle func(*Flow)) error {
	// Of the closed sockets only those that were so before the swap: then what
	// else their processes did is in the old generation and is told first.
	closed := k.closed.AvailableBytes()
	for _, f := range k.adopted.take() {
		handle(&f)
	}
	if err := k.drainFlows(handle); err != nil {
		return fmt.Errorf("drain flows: %w", err)
	}
	if err := k.drainClosed(closed, handle); err != nil {
		return fmt.Errorf("drain closed sockets: %w", err)
	}
	for _, open := range [...]string{"iter_sockets", "iter_held"} { // at most one is loaded
		if k.iterators[open] == nil {
			continue // counters: the tier keeps none in sockets
		}
		if err := readIterator(k, open, handle); err != nil {
			return fmt.Errorf("drain sockets: %w", err)
		}
	}
	return nil
}

// drainClosed hands over the first n bytes of the ring of closed sockets.
func (k *Kernel) drainClosed(n int, handle func(*Flow)) error {
	var rec ringbuf.Record
	var f Flow
	for n > 0 {
		err := k.closed.ReadInto(&rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := binary.Decode(rec.RawSample, binary.NativeEndian, &f); err != nil {
			return err
		}
		n -= ringHeader + len(rec.RawSample)
		handle(&f)
	}
	return nil
}

func (k *Kernel) drainFlows(handle func(*Flow)) error {
	var inserted uint64
	if err := k.inserted.Get(&inserted); err != nil {
		return fmt.Errorf("read count of flows: %w", err)
	}
	if inserted == k.drained {
		return nil // an empty generation: the swap would only cost
	}
	k.drained = inserted
	// Moved before the swap, so that the new generation cannot pass it unseen.
	if err := k.wakeAt.Set(inserted + k.half); err != nil {
		return fmt.Errorf("set wake-up: %w", err)
	}
	return k.flows.drain(func(key *FlowKey, value *FlowValue) {
		handle(&Flow{Key: *key, Value: *value})
	})
}

// DrainOverflow hands over the bytes that found the flow map full, by process,
// since the last call. They are counted in Losses too.
func (k *Kernel) DrainOverflow(handle func(ProcessId, Loss)) error {
	losses, err := k.Losses()
	if err != nil {
		return err
	}
	if losses[LossFlowMapFull].Count == k.overflown {
		return nil
	}
	k.overflown = losses[LossFlowMapFull].Count
	if err := k.overflow.drain(func(id *ProcessId, loss *Loss) { handle(*id, *loss) }); err != nil {
		return fmt.Errorf("drain overflow: %w", err)
	}
	return nil
}

// Losses are the losses since Load, by cause (LossRingFull … LossMissed).
func (k *Kernel) Losses() ([LossMax + 1]Loss, error) {
	var sum [LossMax + 1]Loss
	var perCPU []Loss
	for cause := 1; cause < LossMax; cause++ {
		if err := k.coll.Maps["losses"].Lookup(uint32(cause), &perCPU); err != nil {
			return sum, fmt.Errorf("read losses: %w", err)
		}
		for _, l := range perCPU {
			sum[cause].Count += l.Count
			sum[cause].Sent += l.Sent
			sum[cause].Received += l.Received
		}
	}
	for _, prog := range k.coll.Programs {
		if prog.Type() != ebpf.Tracing {
			continue
		}
		stats, err := prog.Stats()
		if err != nil {
			return sum, fmt.Errorf("read missed runs: %w", err)
		}
		sum[LossMissed].Count += stats.RecursionMisses
	}
	return sum, nil
}

// readIterator runs a kernel iterator and hands over the records it writes,
// which are values of T in C's layout. handle's pointer is valid only during
// the call.
func readIterator[T any](k *Kernel, name string, handle func(*T)) error {
	it := k.iterators[name]
	if it == nil {
		return fmt.Errorf("%s is not in tier %s", name, k.tier)
	}
	r, err := it.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	var rec T
	size := int(unsafe.Sizeof(rec))
	buf := make([]byte, 64<<10/size*size)
	for {
		n, err := io.ReadFull(r, buf)
		for at := 0; at+size <= n; at += size {
			if _, err := binary.Decode(buf[at:at+size], binary.NativeEndian, &rec); err != nil {
				return err
			}
			handle(&rec)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if n%size != 0 {
				return fmt.Errorf("%d bytes are not whole records of %d", n, size)
			}
			return nil
		case err != nil:
			return err
		}
	}
}
