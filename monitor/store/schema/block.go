package schema

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// MaxBlockRows is how many rows a block has at most.
const MaxBlockRows = 1 << 16

// blockColumns are the columns of connection that blocks have. The number of a
// column is its place, and is stored.
var blockColumns = [...]string{"opened", "last", "sent", "received", "decision", "process", "pid", "context", "direction", "family", "proto",
	"laddr", "lport", "raddr", "rport", "domain", "domain_source", "sni", "country", "result", "existing"}

// BlockColumnCount is how many columns of connection a block has.
const BlockColumnCount = len(blockColumns)

// BlockColumns are the names of those columns in table connection.
func BlockColumns() [BlockColumnCount]string { return blockColumns }

// BlockColumnID is the key in table block_column of a column of a block.
func BlockColumnID(block int64, column int) int64 { return block<<5 | int64(column) }

// How a column is stored.
const (
	asFrames     = 1 // runs of frameRows values, each as the distance to the least one
	asDictionary = 2 // the distinct values, and for each row the place of its own
)

const (
	frameRows = 128
	padding   = 8 // behind the packed numbers, so that they can be read as whole words
	fullWidth = 57
)

var errBlock = errors.New("column of a block is damaged")

// BlockColumn is a column of a block as it is read. When Dictionary is not
// nil, the value of row i is Dictionary[Places[i]], else Values[i].
type BlockColumn struct {
	Dictionary []int64 // distinct, in order
	Places     []uint16
	Values     []int64
}

// PackColumn writes the values of a column, of which there are 1 to
// MaxBlockRows, in the shorter of the two ways.
func PackColumn(values []int64) []byte {
	distinct := slices.Clone(values)
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	frames := packFrames(values)
	if len(distinct) > len(values)/2 && len(distinct) > 1 {
		return frames
	}
	dictionary := packDictionary(values, distinct)
	if len(frames) < len(dictionary) {
		return frames
	}
	return dictionary
}

func packFrames(values []int64) []byte {
	out := []byte{asFrames}
	numbers := make([]uint64, 0, frameRows)
	for frame := range slices.Chunk(values, frameRows) {
		least, width := slices.Min(frame), 0
		numbers = numbers[:0]
		for _, v := range frame {
			n := uint64(v) - uint64(least)
			width = max(width, bits.Len64(n))
			numbers = append(numbers, n)
		}
		width = wholeWidth(width)
		out = binary.LittleEndian.AppendUint64(out, uint64(least))
		out = appendBits(append(out, byte(width)), numbers, width)
	}
	return append(out, make([]byte, padding)...)
}

func packDictionary(values, distinct []int64) []byte {
	out := binary.AppendUvarint([]byte{asDictionary}, uint64(len(distinct)))
	before := int64(0)
	for _, v := range distinct {
		out = binary.AppendVarint(out, int64(uint64(v)-uint64(before)))
		before = v
	}
	numbers := make([]uint64, len(values))
	for i, v := range values {
		place, _ := slices.BinarySearch(distinct, v)
		numbers[i] = uint64(place)
	}
	return append(appendBits(out, numbers, bits.Len(uint(len(distinct)-1))), make([]byte, padding)...)
}

// wholeWidth is a width that one read of a word can take out: up to fullWidth
// bits at any bit, or whole words.
func wholeWidth(width int) int {
	if width > fullWidth {
		return 64
	}
	return width
}

// appendBits appends numbers of a width, lowest bits first, and fills the last
// byte up.
func appendBits(out []byte, numbers []uint64, width int) []byte {
	start := len(out)
	out = append(out, make([]byte, (len(numbers)*width+7)/8+padding)...)
	for i, n := range numbers {
		at := i * width
		p := out[start+at/8:]
		if width == 64 {
			binary.LittleEndian.PutUint64(p, n)
			continue
		}
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)|n<<(at%8))
	}
	return out[:len(out)-padding]
}

// UnpackColumn reads what PackColumn wrote of rows values into c, whose memory
// it uses again. It refuses what PackColumn cannot have written.
func UnpackColumn(c *BlockColumn, data []byte, rows int) error {
	if rows < 1 || rows > MaxBlockRows || len(data) < 1+padding {
		return fmt.Errorf("%w: %d bytes for %d rows", errBlock, len(data), rows)
	}
	c.Dictionary, c.Places, c.Values = c.Dictionary[:0], c.Places[:0], c.Values[:0]
	kind, packed := data[0], data[1:]
	switch kind {
	case asFrames:
		c.Dictionary = nil
		return c.frames(packed, rows)
	case asDictionary:
		return c.dictionary(packed, rows)
	}
	return fmt.Errorf("%w: kind %d", errBlock, kind)
}

func (c *BlockColumn) frames(data []byte, rows int) error {
	for left := rows; left > 0; left -= frameRows {
		n := min(left, frameRows)
		if len(data) < 9+padding {
			return fmt.Errorf("%w: it ends with %d rows left", errBlock, left)
		}
		least, width := binary.LittleEndian.Uint64(data), int(data[8])
		size := (n*width + 7) / 8
		if data = data[9:]; width != wholeWidth(width) || width > 64 || len(data) < size+padding {
			return fmt.Errorf("%w: %d bytes for %d numbers of %d bits", errBlock, len(data), n, width)
		}
		mask := ^uint64(0) >> (64 - width)
		for i := range n {
			at := i * width
			c.Values = append(c.Values, int64(least+binary.LittleEndian.Uint64(data[at/8:])>>(at%8)&mask))
		}
		data = data[size:]
	}
	if len(data) != padding {
		return fmt.Errorf("%w: %d bytes too many", errBlock, len(data)-padding)
	}
	return nil
}

func (c *BlockColumn) dictionary(data []byte, rows int) error {
	count, n := binary.Uvarint(data)
	if n <= 0 || count < 1 || count > uint64(rows) {
		return fmt.Errorf("%w: %d distinct values of %d", errBlock, count, rows)
	}
	data = data[n:]
	last := int64(0)
	for range count {
		step, n := binary.Varint(data)
		if n <= 0 {
			return fmt.Errorf("%w: its dictionary ends too early", errBlock)
		}
		data, last = data[n:], int64(uint64(last)+uint64(step))
		c.Dictionary = append(c.Dictionary, last)
	}
	width := bits.Len(uint(count - 1))
	if len(data) != (rows*width+7)/8+padding {
		return fmt.Errorf("%w: %d bytes for %d numbers of %d bits", errBlock, len(data), rows, width)
	}
	mask := uint64(1)<<width - 1
	for i := range rows {
		at := i * width
		place := binary.LittleEndian.Uint64(data[at/8:]) >> (at % 8) & mask
		if place >= count {
			return fmt.Errorf("%w: place %d of %d", errBlock, place, count)
		}
		c.Places = append(c.Places, uint16(place))
	}
	return nil
}
