package bpf

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// ringInterval is how long a record may lie in the ring without a wake-up; the
// programs wake at most once in this time (wake_ns of maps.h).
const ringInterval = 10 * time.Millisecond

// poller reads the ring. After records came, more may follow without a
// wake-up; so it looks again by time until the ring has been quiet.
type poller struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
	quiet  time.Time // until then, look by time
}

// Poll hands over every record that is there. If there are none it waits up to
// timeout for some; nil if none came. It returns os.ErrClosed once the Kernel is
// closed. One goroutine only. record is valid only during the call.
func (k *Kernel) Poll(timeout time.Duration, handle func(record []byte)) error {
	end := time.Now().Add(timeout)
	for {
		n, err := k.poller.read(end, handle)
		if err != nil || n > 0 || !time.Now().Before(end) {
			return err
		}
	}
}

// Wake makes a Poll that waits return, or the next one, once it has handed over
// all records that are there.
func (k *Kernel) Wake() error {
	if err := k.poller.ring.Flush(); err != nil {
		return fmt.Errorf("wake who reads the ring: %w", err)
	}
	return nil
}

// read waits once, not beyond end, and hands over all that is there then.
func (p *poller) read(end time.Time, handle func([]byte)) (n int, err error) {
	if now := time.Now(); now.Before(p.quiet) {
		if slice := now.Add(ringInterval); slice.Before(end) {
			end = slice
		}
	}
	p.ring.SetDeadline(end)
	for {
		err := p.ring.ReadInto(&p.record)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return n, nil
		case errors.Is(err, ringbuf.ErrFlushed):
			return max(n, 1), nil // Wake: do not wait for more
		case errors.Is(err, ringbuf.ErrClosed):
			return n, os.ErrClosed
		case err != nil:
			return n, err
		}
		handle(p.record.RawSample)
		if n++; n == 1 {
			p.quiet = time.Now().Add(3 * ringInterval)
			p.ring.SetDeadline(time.Unix(1, 0)) // no more waiting
		}
	}
}

func (p *poller) close() error {
	if p.ring == nil {
		return nil
	}
	return p.ring.Close()
}
