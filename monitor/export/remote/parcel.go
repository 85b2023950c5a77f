package remote

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// Bounds of a parcel. A server that answers slowly is given little at a time.
const (
	parcelRows  = 1000
	parcelBytes = 1 << 20   // unpacked; one row more may be in it
	maxLine     = 1 << 20   // a row: eleven texts whose every byte is escaped by six
	maxUnpacked = 4 << 20   // what a reader takes
	maxPacked   = 2 << 20   // likewise
	formNumber  = 1         // of the lines
	maxHost     = nameBytes // of a host's name
)

// header is the first line of a parcel.
type header struct {
	Form    int       `json:"form"`
	Host    string    `json:"host"`
	Written time.Time `json:"written"`
}

// Parcel is what one transaction of the server writes.
type Parcel struct {
	Key  string // 32 hexadecimal digits
	head header
	rows []line
}

// line is one row of a table.
type line struct {
	table *table
	row   any
}

// NewPacker makes what packs rows of this host for the store's outbox. host is
// the value of column host.
func NewPacker(host string) func(*store.Growth) []store.Parcel {
	host = name(host)
	return func(g *store.Growth) []store.Parcel {
		p := &packer{head: header{Form: formNumber, Host: host, Written: when(g.Time)}, actors: make(map[*event.Process]actor)}
		for i := range g.Connections {
			c := &g.Connections[i]
			p.add('c', p.connection(g.Run, c))
			p.sent, p.received = p.sent+c.Sent, p.received+c.Received
		}
		for i := range g.Execs {
			p.add('e', p.execution(&g.Execs[i]))
		}
		for i := range g.Losses {
			p.add('l', newLoss(&g.Losses[i]))
		}
		for i := range g.Alerts {
			p.add('a', newAlert(&g.Alerts[i]))
		}
		p.flush()
		return p.done
	}
}

// packer fills one parcel after the other.
type packer struct {
	head           header
	done           []store.Parcel
	buf            bytes.Buffer
	rows           int
	actors         map[*event.Process]actor // of the processes met so far
	sent, received uint64
}

func (p *packer) add(letter byte, row any) {
	if p.rows >= parcelRows || p.buf.Len() >= parcelBytes {
		p.flush()
	}
	if p.rows == 0 {
		p.line(0, p.head)
	}
	p.line(letter, row)
	p.rows++
}

// line writes strings, numbers and times of this package, which always encode.
func (p *packer) line(letter byte, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	if letter != 0 {
		p.buf.WriteByte(letter)
	}
	p.buf.Write(b)
	p.buf.WriteByte('\n')
}

func (p *packer) flush() {
	if p.rows == 0 {
		return
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // a level that there is
	_, _ = z.Write(p.buf.Bytes())                        // memory takes everything
	_ = z.Close()
	out := store.Parcel{Rows: p.rows, Sent: p.sent, Received: p.received, Data: packed.Bytes()}
	_, _ = rand.Read(out.Key[:]) // never fails
	p.done = append(p.done, out)
	p.buf.Reset()
	p.rows, p.sent, p.received = 0, 0, 0
}

// unpack reads what a packer made.
func unpack(key [16]byte, data []byte) (*Parcel, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpack parcel: %w", err)
	}
	limited := &io.LimitedReader{R: z, N: maxUnpacked}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	if !lines.Scan() {
		return nil, errors.Join(errors.New("unpack parcel: it is empty"), lines.Err())
	}
	p := &Parcel{Key: hex.EncodeToString(key[:])}
	if err := decodeStrict(lines.Bytes(), &p.head); err != nil {
		return nil, fmt.Errorf("unpack parcel: header: %w", err)
	}
	if p.head.Form != formNumber || p.head.Host == "" || len(p.head.Host) > maxHost {
		return nil, fmt.Errorf("unpack parcel: form %d of host %q is not known", p.head.Form, p.head.Host)
	}
	all := tables()
	for lines.Scan() {
		l, err := readLine(all, lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("unpack parcel: row %d: %w", len(p.rows)+1, err)
		}
		if p.rows = append(p.rows, l); len(p.rows) > parcelRows {
			return nil, fmt.Errorf("unpack parcel: more than %d rows", parcelRows)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("unpack parcel: %w", err)
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("unpack parcel: more than %d bytes", maxUnpacked)
	}
	return p, nil
}

func readLine(all []table, b []byte) (line, error) {
	for i := range all {
		if len(b) > 0 && b[0] == all[i].letter {
			l := line{&all[i], all[i].blank()}
			return l, decodeStrict(b[1:], l.row)
		}
	}
	return line{}, errors.New("it is of no known table")
}

func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}
