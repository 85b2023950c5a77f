package event

import (
	"encoding/hex"
	"fmt"
)

// Digest is a SHA-256 (FIPS 180-4). The zero value means "not known": the
// reason stands beside it.
type Digest [32]byte

// IsZero reports whether d is unknown.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is 64 lower-case hexadecimal digits, or "" for the zero value.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// MarshalText makes Digest a JSON string.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ParseDigest reads 64 hexadecimal digits of either case; "" is the zero value.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if s == "" {
		return d, nil
	}
	if len(s) != hex.EncodedLen(len(d)) {
		return d, fmt.Errorf("sha256 has %d characters, want %d", len(s), hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("sha256 %q: %w", s, err)
	}
	return d, nil
}

// HashReason says why a Digest is zero.
type HashReason uint8

// Reasons; the numbers are stored.
const (
	HashReasonInvalid HashReason = 0
	HashKnown         HashReason = 1  // the digest is there
	HashPending       HashReason = 2  // being read; the answer follows
	HashVanished      HashReason = 3  // the process and its file were gone before they could be read
	HashUnreadable    HashReason = 4  // open or read failed (permission, input/output error)
	HashDeadline      HashReason = 5  // the file (FUSE, slow disk) did not answer in time; a later answer replaces this
	HashTooLarge      HashReason = 6  // larger than the configured bound
	HashChanged       HashReason = 7  // written to while it was read
	HashNoFile        HashReason = 8  // a kernel thread has no executable, a module is not one file
	HashBusy          HashReason = 9  // the queue of files to read was full
	HashUnknown       HashReason = 10 // the process was never seen (lost event)
)

var hashReasonNames = [...]string{"invalid", "known", "pending", "vanished", "unreadable",
	"deadline", "too-large", "changed-while-reading", "no-file", "queue-full", "process-unknown"}

// String is the name that log and status print.
func (r HashReason) String() string { return enumName(hashReasonNames[:], int(r)) }

func enumName(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("unknown-%d", i)
	}
	return names[i]
}
