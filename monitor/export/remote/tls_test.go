package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"snitch/monitor/export/remote/servertest"
)

// testTLS: the server is who its certificate says, or nothing is sent; a server
// without encryption gets nothing either.
func testTLS(t *testing.T, s *site) {
	s.schema()
	p := parcels(t, testGrowth(1))[0]
	refused := func(what string, a *Access, says string) {
		t.Helper()
		_, err := s.open(a).Deliver(t.Context(), p)
		if err == nil {
			t.Errorf("%s: delivered", what)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	user := s.name + "_writer"
	other := s.remote(user)
	other.CA = servertest.NewCA(t)
	if _, err := s.open(other).Deliver(t.Context(), p); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("unknown authority: %v", err)
	}
	address := s.remote(user)
	address.Host = "127.0.0.1"
	refused("another name", address, "127.0.0.1")
	nonsense := s.remote(user)
	nonsense.CA = []byte("nonsense")
	if _, err := Open(nonsense); err == nil {
		t.Error("authorities that are none were taken")
	}
	wrong := s.remote(user)
	wrong.Password = "wrong"
	refused("wrong password", wrong, "")
	s.want(map[string]int64{"SELECT count(*) FROM snitch_batch": 0})

	deliver(t, s.open(s.remote(user)), true, p)
	deliver(t, s.open(s.certified(t)), false, p)
	s.want(map[string]int64{"SELECT count(*) FROM snitch_batch": 1})

	s.Kill(t)
	off := "--skip-ssl"
	if s.Dialect == servertest.Postgres {
		off = "--ssl=off"
	}
	s.Server.Start(t, off)
	defer func() { s.Kill(t); s.Server.Start(t) }()
	refused("a server without TLS", s.remote(user), "TLS")
	plain := s.remote(user)
	plain.Plain = true
	deliver(t, s.open(plain), false, p)
}

// certified is an account that has to show a certificate.
func (s *site) certified(t *testing.T) *Access {
	user := s.name + "_certified"
	if s.Dialect == servertest.Postgres {
		user = "certified" // as pg_hba.conf says
		s.Exec(t, "", "CREATE ROLE certified LOGIN PASSWORD 'secret'")
	} else {
		s.Exec(t, "", fmt.Sprintf("CREATE USER `%s`@`%%` IDENTIFIED BY 'secret' REQUIRE X509", user))
	}
	text, err := Schema(s.Dialect, SchemaOptions{Writer: user})
	if err != nil {
		t.Fatal(err)
	}
	s.Exec(t, s.name, text)
	a := s.remote(user)
	if _, err := s.open(a).Deliver(t.Context(), parcels(t, testGrowth(1))[0]); err == nil {
		t.Error("an account that needs a certificate got in without")
	}
	a.Cert, a.Key = s.Client.Cert, s.Client.Key
	return a
}
