package owner

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Tags and types of rpm's header format, of which these are read.
const (
	tagName       = 1000
	tagFileStates = 1029
	tagDigests    = 1035
	tagDirIndexes = 1116
	tagBasenames  = 1117
	tagDirnames   = 1118
	tagDigestAlgo = 5011

	typeChar   = 1
	typeInt32  = 4
	typeString = 6
	typeTexts  = 8
	typeI18N   = 9

	stateNormal = 0
	algoMD5     = 1
	algoSHA256  = 8

	maxTags  = 1 << 16
	tagBytes = 16
)

// header is the description of one package, as the database holds it: numbers
// of big-endian order say where in the data each tag's values lie.
type header struct {
	tags map[uint32]tag
	data []byte
}

type tag struct {
	kind, offset, count uint32
}

var errHeader = errors.New("header is malformed")

func parseHeader(blob []byte) (*header, error) {
	if len(blob) < 8 {
		return nil, fmt.Errorf("%w: %d bytes", errHeader, len(blob))
	}
	n, size := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	if n > maxTags || uint64(len(blob)) < 8+uint64(n)*tagBytes+uint64(size) {
		return nil, fmt.Errorf("%w: %d tags and %d bytes of data do not fit in %d", errHeader, n, size, len(blob))
	}
	h := &header{tags: make(map[uint32]tag, n), data: blob[8+n*tagBytes:][:size]}
	for i := range n {
		entry := blob[8+i*tagBytes:]
		t := tag{kind: binary.BigEndian.Uint32(entry[4:]), offset: binary.BigEndian.Uint32(entry[8:]), count: binary.BigEndian.Uint32(entry[12:])}
		if t.offset <= size { // regions have another meaning, and are not read
			h.tags[binary.BigEndian.Uint32(entry)] = t
		}
	}
	return h, nil
}

// find returns a tag's values from value i on.
func (h *header) find(id uint32, i int, kinds ...uint32) (tag, []byte, error) {
	t, ok := h.tags[id]
	if !ok {
		return t, nil, fmt.Errorf("%w: no tag %d", errHeader, id)
	}
	for _, kind := range kinds {
		if t.kind == kind && i >= 0 && uint64(i) < uint64(t.count) {
			return t, h.data[t.offset:], nil
		}
	}
	return t, nil, fmt.Errorf("%w: tag %d of type %d has %d values, none is number %d", errHeader, id, t.kind, t.count, i)
}

// text returns string i of a tag: each ends with a zero.
func (h *header) text(id uint32, i int) (string, error) {
	_, data, err := h.find(id, i, typeString, typeTexts, typeI18N)
	if err != nil {
		return "", err
	}
	for ; ; i-- {
		end := bytes.IndexByte(data, 0)
		if end < 0 {
			return "", fmt.Errorf("%w: tag %d ends early", errHeader, id)
		}
		if i == 0 {
			return string(data[:end]), nil
		}
		data = data[end+1:]
	}
}

func (h *header) number(id uint32, i int) (uint32, error) {
	_, data, err := h.find(id, i, typeInt32)
	if err != nil {
		return 0, err
	}
	if len(data) < 4*(i+1) {
		return 0, fmt.Errorf("%w: tag %d ends early", errHeader, id)
	}
	return binary.BigEndian.Uint32(data[4*i:]), nil
}

// state says whether file i is installed; a header without states is of a
// package whose files are.
func (h *header) state(i int) (byte, error) {
	if _, ok := h.tags[tagFileStates]; !ok {
		return stateNormal, nil
	}
	_, data, err := h.find(tagFileStates, i, typeChar)
	if err != nil {
		return 0, err
	}
	if len(data) <= i {
		return 0, fmt.Errorf("%w: tag %d ends early", errHeader, tagFileStates)
	}
	return data[i], nil
}

// digest returns the MD5 or SHA-256 of file i, nil for none or another.
func (h *header) digest(i int) ([]byte, error) {
	algo := uint32(algoMD5)
	if _, ok := h.tags[tagDigestAlgo]; ok {
		var err error
		if algo, err = h.number(tagDigestAlgo, 0); err != nil {
			return nil, err
		}
	}
	size := map[uint32]int{algoMD5: md5Size, algoSHA256: 32}[algo]
	text, err := h.text(tagDigests, i)
	if err != nil {
		return nil, err
	}
	digest, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: digest of file %d: %w", errHeader, i, err)
	}
	if size == 0 || len(digest) != size {
		return nil, nil // links have none; other algorithms are not known here
	}
	return digest, nil
}
