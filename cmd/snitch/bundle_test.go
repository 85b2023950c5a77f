package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// makeKeys writes NAME.pem and NAME.pub, what people make with openssl: makekeys NAME.
func makeKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: makekeys NAME")
	}
	ts.Check(writeKeys(ts.MkAbs(args[0])))
}

func writeKeys(name string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	a, errA := x509.MarshalPKCS8PrivateKey(private)
	b, errB := x509.MarshalPKIXPublicKey(public)
	return errors.Join(errA, errB,
		os.WriteFile(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), 0o600),
		os.WriteFile(name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}), 0o644))
}
