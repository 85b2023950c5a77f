package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Kind names a helper. The list is fixed: a broker that was told to run
// something else would be a way to become another user.
type Kind string

// The kinds of helpers.
const (
	ReverseDNS  Kind = "reverse-dns"  // looks up the names of addresses, labelled as a last resort
	Notify      Kind = "notify"       // shows notifications on one user's desktop, as that user
	CustomRules Kind = "custom-rules" // evaluates people's own Rego
	RemoteSQL   Kind = "remote-sql"   // writes to an SQL server on another host
	Reputation  Kind = "reputation"   // asks VirusTotal about programs
	Syslog      Kind = "syslog"       // sends messages to a syslog server
	FetchBundle Kind = "fetch-bundle" // brings signed rules over HTTPS
	FetchGit    Kind = "fetch-git"    // brings rules from a git remote, by git
	VerifyPGP   Kind = "verify-pgp"   // verifies signatures, by gpgv
)

// Kinds lists every kind of helper.
func Kinds() []Kind {
	return []Kind{
		ReverseDNS, Notify, CustomRules, RemoteSQL, Syslog, Reputation, FetchBundle, FetchGit, VerifyPGP,
	}
}

// perUser says that a helper of this kind runs as a user who is logged in and
// not as the one of Config.
func (k Kind) perUser() bool { return k == Notify }

// executes says that a helper of this kind runs programs itself, as the user that
// it is and without privileges to gain.
func (k Kind) executes() bool { return k == FetchGit || k == VerifyPGP }

// readsLittle says that a helper needs no file but those of readOnly: it runs no
// program and needs nobody's home.
func (k Kind) readsLittle() bool { return !k.executes() && !k.perUser() }

func (k Kind) valid() bool {
	for _, known := range Kinds() {
		if k == known {
			return true
		}
	}
	return false
}

// maxMessage bounds one message of either direction.
const maxMessage = 4096

// request is what the core asks. A start carries one descriptor.
type request struct {
	Op   string `json:"op"` // start or stop
	ID   uint32 `json:"id"` // chosen by the core, not used before
	Kind Kind   `json:"kind,omitempty"`
	UID  uint32 `json:"uid,omitempty"` // of kinds that are per user, and of no other
}

// answer is what the broker tells: that it serves, the answer to a start, and
// later the helper's end.
type answer struct {
	Event  string `json:"event"` // ready (once), started, failed or exited
	ID     uint32 `json:"id"`
	PID    int    `json:"pid,omitempty"`
	Status string `json:"status,omitempty"` // exited: how; failed: why
}

// The values of Op and Event.
const (
	opStart      = "start"
	opStop       = "stop"
	eventReady   = "ready"
	eventStarted = "started"
	eventFailed  = "failed"
	eventExited  = "exited"
)

var errTooLong = errors.New("message is longer than its bound")

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	if len(b) > maxMessage {
		return nil, errTooLong
	}
	return b, nil
}

// decode reads exactly one message: unknown fields and anything behind it are
// refused.
func decode(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode message: something follows it")
	}
	return nil
}
