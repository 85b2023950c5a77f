package commit

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"snitch/policy/bundle"
)

// What git signs with, and how OpenSSH frames it.
const (
	namespace   = "git"
	sshMagic    = "SSHSIG"
	sshBlock    = "SSH SIGNATURE"
	leastRSA    = 2048
	maxSigners  = 1000
	sshVersion  = 1
	validFormat = "20060102"
)

// Signers are the OpenSSH keys that may sign: a Verifier.
type Signers struct {
	keys []signer
	now  func() time.Time
}

type signer struct {
	key           []byte // wire format
	after, before time.Time
}

// ReadSigners reads a file of allowed signers as ssh-keygen does: principals,
// options, key, a line each. Who the principal is does not matter: the file is
// of those who may publish. Certificates are not used. now is the clock for
// valid-after and valid-before.
func ReadSigners(text []byte, now func() time.Time) (*Signers, error) {
	s := &Signers{now: now}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, use, err := readSigner(line)
		if err != nil {
			return nil, fmt.Errorf("read signers: line %d: %w", i+1, err)
		}
		if len(s.keys) == maxSigners {
			return nil, fmt.Errorf("read signers: more than %d", maxSigners)
		}
		if use {
			s.keys = append(s.keys, k)
		}
	}
	if len(s.keys) == 0 {
		return nil, errors.New("read signers: none in it that may sign for git")
	}
	return s, nil
}

// readSigner reads a line; use is false for keys of other namespaces.
func readSigner(line string) (s signer, use bool, err error) {
	_, rest, found := cutField(line)
	if !found {
		return s, false, errors.New("want principals, options and a key")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, false, err
	}
	if strings.Contains(key.Type(), "-cert-") {
		return s, false, errors.New("certificates are not used")
	}
	if err := strong(key); err != nil {
		return s, false, err
	}
	s.key, use = key.Marshal(), true
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			use = false
			for _, n := range strings.Split(value, ",") {
				use = use || n == namespace || n == "*"
			}
		case "valid-after":
			s.after, err = moment(value)
		case "valid-before":
			s.before, err = moment(value)
		default:
			err = fmt.Errorf("option %.40q is not used", name)
		}
		if err != nil {
			return s, false, err
		}
	}
	return s, use, nil
}

// cutField cuts the first field off; it may stand in quotes.
func cutField(line string) (field, rest string, found bool) {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return line[:i], strings.TrimSpace(line[i:]), true
		}
	}
	return line, "", false
}

// moment reads YYYYMMDD[HHMM[SS]][Z]; without Z in the time of the machine.
func moment(v string) (time.Time, error) {
	digits, utc := strings.CutSuffix(v, "Z")
	where := time.Local
	if utc {
		where = time.UTC
	}
	for _, layout := range []string{validFormat, validFormat + "1504", validFormat + "150405"} {
		if len(layout) == len(digits) {
			return time.ParseInLocation(layout, digits, where)
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no moment like 20270131", v)
}

// strong refuses keys that are too easy to forge.
func strong(key ssh.PublicKey) error {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < leastRSA {
		return fmt.Errorf("an RSA key of %d bits is too short: %d at least", k.N.BitLen(), leastRSA)
	}
	return nil
}

// Verify holds an armored signature of OpenSSH against payload and the keys.
func (s *Signers) Verify(payload, armored []byte) error {
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sshBlock || len(bytes.TrimSpace(rest)) > 0 {
		return fmt.Errorf("its signature is none of OpenSSH, and the keys are: %w", bundle.ErrSignature)
	}
	sig, err := parseSignature(block.Bytes)
	if err != nil {
		return fmt.Errorf("%w: %w", bundle.ErrSignature, err)
	}
	if err := s.allowed(sig.PublicKey); err != nil {
		return err
	}
	key, err := ssh.ParsePublicKey(sig.PublicKey)
	if err != nil {
		return fmt.Errorf("%w: %w", bundle.ErrSignature, err)
	}
	return sig.check(key, payload)
}

func (s *Signers) allowed(key []byte) error {
	now, err := s.now(), bundle.ErrSignature
	for _, k := range s.keys {
		switch {
		case !bytes.Equal(k.key, key):
		case !k.after.IsZero() && now.Before(k.after), !k.before.IsZero() && !now.Before(k.before):
			err = fmt.Errorf("its key may not sign at this time: %w", bundle.ErrSignature)
		default:
			return nil
		}
	}
	return err
}

// signature is the content of an armored signature (PROTOCOL.sshsig).
type signature struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  []byte
	Hash      string
	Signature []byte
}

func parseSignature(blob []byte) (*signature, error) {
	rest, ok := bytes.CutPrefix(blob, []byte(sshMagic))
	if !ok {
		return nil, errors.New("no signature of OpenSSH")
	}
	var sig signature
	if err := ssh.Unmarshal(rest, &sig); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if sig.Version != sshVersion || sig.Namespace != namespace {
		return nil, fmt.Errorf("signed for %.40q in version %d, not for git", sig.Namespace, sig.Version)
	}
	return &sig, nil
}

// check verifies; SHA-1 is never good enough.
func (sig *signature) check(key ssh.PublicKey, payload []byte) error {
	var sum []byte
	switch sig.Hash {
	case "sha256":
		h := sha256.Sum256(payload)
		sum = h[:]
	case "sha512":
		h := sha512.Sum512(payload)
		sum = h[:]
	default:
		return fmt.Errorf("hash %.20q is not used: %w", sig.Hash, bundle.ErrSignature)
	}
	var inner ssh.Signature
	if err := ssh.Unmarshal(sig.Signature, &inner); err != nil {
		return fmt.Errorf("%w: read signature: %w", bundle.ErrSignature, err)
	}
	if inner.Format == ssh.KeyAlgoRSA {
		return fmt.Errorf("an RSA signature over SHA-1 is not used: %w", bundle.ErrSignature)
	}
	signed := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace string
		Reserved  []byte
		Hash      string
		Sum       []byte
	}{sig.Namespace, sig.Reserved, sig.Hash, sum})...)
	if err := key.Verify(signed, &inner); err != nil {
		return fmt.Errorf("%w: %w", bundle.ErrSignature, err)
	}
	return nil
}
