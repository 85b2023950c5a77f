package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// The signatures that count: asymmetric, short and of one strength. A shared
// secret (HS256) would let every host sign.
const (
	algorithmEd25519 = "EdDSA"
	algorithmP256    = "ES256"
)

// maxKeys bounds how many signatures are tried.
const maxKeys = 64

// Keys are the public keys of those who may publish.
type Keys []Key

// Key is one of them.
type Key struct {
	ID        string // of its content: 16 hexadecimal digits
	Algorithm string
	pem       string
}

// ReadKeys reads the PUBLIC KEY blocks of a PEM file: Ed25519 or NIST P-256.
// Anything else in it is refused, a private key above all.
func ReadKeys(text []byte) (Keys, error) {
	var keys Keys
	for rest := bytes.TrimSpace(text); len(rest) > 0; {
		block, after := pem.Decode(rest)
		switch {
		case block == nil:
			return nil, errors.New("read keys: no PEM file of public keys")
		case block.Type != "PUBLIC KEY":
			return nil, fmt.Errorf("read keys: a %.40q does not belong there, only PUBLIC KEY", block.Type)
		case len(keys) == maxKeys:
			return nil, fmt.Errorf("read keys: more than %d", maxKeys)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		algorithm, err := algorithmOf(parsed)
		if err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		keys = append(keys, Key{ID: keyID(block.Bytes), Algorithm: algorithm, pem: string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))})
		rest = bytes.TrimSpace(after)
	}
	if len(keys) == 0 {
		return nil, errors.New("read keys: none in it")
	}
	return keys, nil
}

func algorithmOf(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return algorithmEd25519, nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return algorithmP256, nil
		}
	}
	return "", fmt.Errorf("a key is a %T: Ed25519 and ECDSA on P-256 are used", public)
}

func keyID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8])
}

// signer is a private key.
type signer struct {
	id, algorithm, pem string
}

// readSigner reads one private key: PEM, PKCS #8 or SEC 1.
func readSigner(text []byte) (signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return signer{}, errors.New("read private key: want one PEM block")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return signer{}, fmt.Errorf("read private key: %.40q is none that is used", block.Type)
	}
	if err != nil {
		return signer{}, fmt.Errorf("read private key: %w", err)
	}
	s, ok := private.(crypto.Signer)
	if !ok {
		return signer{}, fmt.Errorf("read private key: a %T signs nothing", private)
	}
	algorithm, err := algorithmOf(s.Public())
	if err != nil {
		return signer{}, fmt.Errorf("read private key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		return signer{}, fmt.Errorf("read private key: %w", err)
	}
	return signer{id: keyID(der), algorithm: algorithm, pem: string(pem.EncodeToMemory(block))}, nil
}
