package digest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// chunk is what one read asks for: large enough for the block layer, small
// enough to stay in the second-level cache between read and hash.
const chunk = 256 << 10

// readAhead is the size from which the kernel is told that all will be read.
const readAhead = 1 << 20

// Errors of reading, each with a reason of its own.
var (
	errTooLarge = errors.New("file is larger than the bound")
	errChanged  = errors.New("file changed while it was read")
	errStopped  = errors.New("hasher is closing")
)

// reader hashes files of at most limit bytes with buffers that it keeps.
type reader struct {
	limit   int64
	buffers chan []byte
	stop    atomic.Bool
	bytes   atomic.Uint64
}

func newReader(limit int64, keep int) *reader {
	return &reader{limit: limit, buffers: make(chan []byte, keep)}
}

func (r *reader) buffer() []byte {
	select {
	case b := <-r.buffers:
		return b
	default:
		return make([]byte, chunk)
	}
}

func (r *reader) giveBack(b []byte) {
	select {
	case r.buffers <- b:
	default:
	}
}

// sum hashes the whole file behind o. The caller compares the state after it
// with the one before.
func (r *reader) sum(o *opened) (event.Digest, error) {
	if o.state.size > r.limit {
		return event.Digest{}, errTooLarge
	}
	if o.state.size >= readAhead {
		_ = unix.Fadvise(o.fd, 0, 0, unix.FADV_SEQUENTIAL) // advice only
	}
	buf := r.buffer()
	defer r.giveBack(buf)
	hash := sha256.New()
	var offset int64
	for {
		if r.stop.Load() {
			return event.Digest{}, errStopped
		}
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pread(o.fd, buf, offset)
			return err
		})
		if err != nil {
			return event.Digest{}, fmt.Errorf("read %q at %d: %w", o.path, offset, err)
		}
		if n == 0 {
			break
		}
		hash.Write(buf[:n])
		offset += int64(n)
		r.bytes.Add(uint64(n))
		if offset > o.state.size { // it grows, or its server lies about the size
			return event.Digest{}, errChanged
		}
	}
	if offset != o.state.size {
		return event.Digest{}, errChanged
	}
	return event.Digest(hash.Sum(nil)), nil
}
