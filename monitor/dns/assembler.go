package dns

import "slices"

const (
	maxStream = 16 << 10 // bytes kept of one stream
	maxEarly  = 128      // segments kept beyond a hole
)

// assembler puts the segments of a byte stream in order: TCP payloads by
// sequence number, QUIC CRYPTO frames by offset. Of bytes that come twice the
// first stay. It keeps at most maxStream bytes in order and as many beyond holes.
type assembler struct {
	started bool
	synced  bool   // base is known to be right: nothing earlier may come
	base    uint32 // position of buf[0]
	buf     []byte
	missing int // bytes known to follow buf that were not captured
	early   []segment
	held    int // bytes in early
}

type segment struct {
	pos  uint32
	data []byte
	wire int // length on the wire, at least len(data)
}

// add takes a copy of data, which stood at position pos of the stream and was
// wire bytes long there. It reports false when the segment did not fit: the
// stream can no longer be read and is to be dropped.
func (a *assembler) add(pos uint32, data []byte, wire int) bool {
	if !a.started {
		a.started, a.base = true, pos
	}
	if off := a.offset(pos); off < 0 && !a.synced && -off <= maxStream {
		a.rebase(pos)
	}
	return a.place(segment{pos, data, max(wire, len(data))})
}

// offset is the distance from base; sequence numbers wrap.
func (a *assembler) offset(pos uint32) int { return int(int32(pos - a.base)) }

// rebase moves the start back to pos: segments were reordered on the way.
func (a *assembler) rebase(pos uint32) {
	old := segment{a.base, a.buf, len(a.buf) + a.missing}
	a.base, a.buf, a.missing = pos, nil, 0
	if len(old.data) > 0 {
		a.insert(old)
	}
}

func (a *assembler) place(s segment) bool {
	off := a.offset(s.pos)
	if off >= maxStream {
		return false
	}
	s.data = s.data[:min(len(s.data), maxStream-off)]
	if off > len(a.buf) {
		return a.insert(s)
	}
	a.extend(s)
	for len(a.early) > 0 && a.offset(a.early[0].pos) <= len(a.buf) {
		next := a.early[0]
		a.early = a.early[1:]
		a.held -= len(next.data)
		a.extend(next)
	}
	return true
}

// extend appends what is new in s, which begins at or before the end of buf.
func (a *assembler) extend(s segment) {
	known := len(a.buf) - a.offset(s.pos)
	if known >= s.wire || known > len(s.data) {
		return
	}
	a.buf = append(a.buf, s.data[known:]...)
	a.missing = s.wire - len(s.data)
}

func (a *assembler) insert(s segment) bool {
	if len(a.early) >= maxEarly || a.held+len(s.data) > maxStream {
		return false
	}
	s.data = slices.Clone(s.data)
	i, _ := slices.BinarySearchFunc(a.early, s.pos, func(e segment, pos uint32) int {
		return int(int32(e.pos - pos))
	})
	a.early = slices.Insert(a.early, i, s)
	a.held += len(s.data)
	return true
}

// consume drops n bytes from the front, also such as were never captured. When
// it ends among bytes that were not captured, nothing tells where the next
// message begins and the stream starts anew.
func (a *assembler) consume(n int) {
	if end := len(a.buf) + a.missing; a.missing > 0 && n >= len(a.buf) && n < end {
		*a = assembler{}
		return
	}
	a.synced = true
	a.base += uint32(n)
	if n < len(a.buf) {
		a.buf = a.buf[n:]
		return
	}
	a.buf, a.missing = nil, 0
	early := a.early
	a.early, a.held = nil, 0
	for _, s := range early {
		if a.offset(s.pos)+s.wire > 0 {
			a.place(s)
		}
	}
}
