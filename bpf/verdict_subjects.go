package bpf

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// PutSubject sets the classes of a process. One that has ended meanwhile stays
// in the map until DeleteSubject. ErrVerdictTableFull: the process stays unknown.
func (v *Verdicts) PutSubject(id VerdictID, s VerdictSubject) error {
	return putError("subject", v.coll.Maps["subjects"].Put(&id, &s))
}

// Subject is what the kernel has of a process.
func (v *Verdicts) Subject(id VerdictID) (s VerdictSubject, known bool, err error) {
	err = v.coll.Maps["subjects"].Lookup(&id, &s)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return s, false, nil
	case err != nil:
		return s, false, fmt.Errorf("look up subject: %w", err)
	}
	return s, true, nil
}

// DeleteSubject forgets a process; one that is not there is no error.
func (v *Verdicts) DeleteSubject(id VerdictID) error {
	if err := v.coll.Maps["subjects"].Delete(&id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete subject: %w", err)
	}
	return nil
}

// Announce says what class an image is of that a thread group may be about to
// run. The exec takes the entry away.
func (v *Verdicts) Announce(who VerdictImage, p VerdictPending) error {
	if err := v.coll.Maps["pending"].Put(&who, &p); err != nil {
		return fmt.Errorf("announce image: %w", err)
	}
	return nil
}

// Decide answers an event, for as long as d says. Generation must be that of
// the event: an answer by older rules must not count.
func (v *Verdicts) Decide(key VerdictDecisionKey, d VerdictDecision) error {
	if err := v.coll.Maps["decisions"].Put(&key, &d); err != nil {
		return fmt.Errorf("put decision: %w", err)
	}
	return nil
}

// DecisionKey is the key of the answer to e.
func (e *verdictVerdictEvent) DecisionKey() VerdictDecisionKey {
	k := VerdictDecisionKey{Id: e.Id, Addr: e.Raddr, Group: e.Group, Place: e.Place, Proto: uint8(e.Proto), Direction: e.Direction}
	k.Port = e.Lport
	if e.Direction == uint8(verdictVerdictDirectionVERDICT_OUT) {
		k.Port = e.Rport
	}
	if e.Flags&VerdictHasPort != 0 {
		k.HasPort = 1
	}
	return k
}

// Poll hands over every event that is there. If there are none it waits up to
// timeout for some; nil if none came. It returns os.ErrClosed once the Verdicts
// are closed. e is valid only during the call.
func (v *Verdicts) Poll(timeout time.Duration, handle func(e *VerdictEvent)) error {
	for end := time.Now().Add(timeout); ; {
		n, err := v.poller.read(end, func(raw []byte) {
			var e VerdictEvent
			if len(raw) >= int(unsafe.Sizeof(e)) {
				copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), raw)
				handle(&e)
			}
		})
		if err != nil || n > 0 || !time.Now().Before(end) {
			return err
		}
	}
}

// Counts are the counters of all processors since the maps were made, by the
// Count constants.
func (v *Verdicts) Counts() (sums [CountMax]uint64, err error) {
	perCPU := make([]uint64, 0, 64)
	for i := range sums {
		if err := v.coll.Maps["counts"].Lookup(uint32(i), &perCPU); err != nil {
			return sums, fmt.Errorf("read counters: %w", err)
		}
		for _, n := range perCPU {
			sums[i] += n
		}
	}
	return sums, nil
}
