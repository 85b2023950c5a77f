package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// tls is how the connection is encrypted; nil for none. The server's name is
// always checked.
func (a *Access) tls() (*tls.Config, error) {
	if a.Plain || a.Socket != "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.Host}
	if len(a.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(a.CA) {
			return nil, errors.New("the file of certificate authorities holds no certificate in PEM")
		}
	}
	if len(a.Cert) > 0 || len(a.Key) > 0 {
		pair, err := tls.X509KeyPair(a.Cert, a.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate of this host and its key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
