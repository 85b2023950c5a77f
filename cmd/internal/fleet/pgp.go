package fleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"snitch/policy/bundle"
)

const pgpWithin = 30 * time.Second

// Frames of OpenPGP's armor.
const (
	pgpKeys      = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	pgpKeysEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
	pgpSignature = "-----BEGIN PGP SIGNATURE-----"
)

// pgpVerifier verifies OpenPGP signatures: gpgv does it, in a helper that
// does nothing else and that no fetcher can reach. It is a commit.Verifier.
type pgpVerifier struct {
	keyring []byte // binary
	ask     func(Request) (Reply, error)
}

// isPGP reports whether a file of keys is one of OpenPGP's.
func isPGP(keys []byte) bool { return bytes.Contains(keys, []byte(pgpKeys)) }

// readKeyring turns armored keys into the binary keyring that gpgv wants.
func readKeyring(armored []byte) ([]byte, error) {
	var out []byte
	rest := string(armored)
	for {
		_, body, found := strings.Cut(rest, pgpKeys)
		if !found {
			break
		}
		if body, rest, found = strings.Cut(body, pgpKeysEnd); !found {
			return nil, errors.New("read keys: a block has no end")
		}
		// Headers, an empty line, base64, and a checksum that begins with "=".
		_, data, found := strings.Cut(strings.ReplaceAll(body, "\r\n", "\n"), "\n\n")
		if !found {
			return nil, errors.New("read keys: no armor of OpenPGP")
		}
		data, _, _ = strings.Cut(data, "\n=")
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data), ""))
		if err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		out = append(out, raw...)
	}
	if len(out) == 0 {
		return nil, errors.New("read keys: none in it")
	}
	return out, nil
}

// Verify implements commit.Verifier.
func (v pgpVerifier) Verify(payload, signature []byte) error {
	if !bytes.HasPrefix(signature, []byte(pgpSignature)) {
		return fmt.Errorf("its signature is none of OpenPGP, and the keys are: %w", bundle.ErrSignature)
	}
	if _, err := v.ask(Request{Ask: askPGP, Keyring: v.keyring, Payload: payload, Signature: signature}); err != nil {
		return fmt.Errorf("%w: %w", bundle.ErrSignature, err)
	}
	return nil
}

// verifyPGP runs gpgv, which knows no keys but those of the request. Its exit
// code is the answer, whatever it writes.
func verifyPGP(ctx context.Context, req Request) error {
	ctx, cancel := context.WithTimeout(ctx, pgpWithin)
	defer cancel()
	var parts []*os.File
	for _, part := range [][]byte{req.Keyring, req.Signature, req.Payload} {
		fd, err := unix.MemfdCreate("gpgv", unix.MFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("keep in memory: %w", err)
		}
		f := os.NewFile(uintptr(fd), "gpgv")
		defer f.Close()
		if _, err := f.Write(part); err != nil {
			return fmt.Errorf("keep in memory: %w", err)
		}
		parts = append(parts, f)
	}
	return command{name: "gpgv", dir: "/", env: []string{"LANG=C", "PATH=/nonexistent"}, files: parts,
		args: []string{"--quiet", "--homedir", "/nonexistent", "--weak-digest", "SHA1", "--keyring", "/dev/fd/3", "--", "/dev/fd/4", "/dev/fd/5"}}.run(ctx)
}
