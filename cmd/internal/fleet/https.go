package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"snitch/policy/bundle"
)

// How long a server may take.
const (
	headWithin = 30 * time.Second
	bodyWithin = 2 * time.Minute
)

const maxETag = 1000

// fetchBundle gets a bundle. Redirects are refused: the address of the
// configuration is the one.
func fetchBundle(ctx context.Context, req Request, out io.Writer) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, bodyWithin)
	defer cancel()
	client, err := httpClient(req.CA)
	if err != nil {
		return Reply{}, err
	}
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, req.URL, nil)
	if err != nil {
		return Reply{}, err
	}
	if get.URL.Scheme != "https" {
		return Reply{}, fmt.Errorf("%s is no HTTPS address", get.URL.Redacted())
	}
	get.Header.Set("User-Agent", "snitch")
	get.Header.Set("Accept", "application/vnd.openpolicyagent.bundles, application/gzip, application/octet-stream")
	if req.ETag != "" {
		get.Header.Set("If-None-Match", req.ETag)
	}
	if req.Token != "" {
		get.Header.Set("Authorization", authorization(req.Token))
	}
	got, err := client.Do(get)
	if err != nil {
		return Reply{}, err
	}
	defer got.Body.Close()
	switch {
	case got.StatusCode == http.StatusNotModified && req.ETag != "":
		return Reply{Unchanged: true, ETag: req.ETag}, nil
	case got.StatusCode != http.StatusOK:
		return Reply{}, fmt.Errorf("%s answers %.60q", get.URL.Redacted(), got.Status)
	case got.ContentLength > bundle.MaxPacked:
		return Reply{}, fmt.Errorf("%s has %d bytes, more than %d", get.URL.Redacted(), got.ContentLength, bundle.MaxPacked)
	}
	// A page to sign in, say: its own words are clearer than that it is no archive.
	if strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
		return Reply{}, fmt.Errorf("%s answers with a web page instead of a bundle", get.URL.Redacted())
	}
	if _, err := io.Copy(out, got.Body); err != nil {
		return Reply{}, fmt.Errorf("fetch %s: %w", get.URL.Redacted(), err)
	}
	reply := Reply{}
	if tag := got.Header.Get("ETag"); len(tag) <= maxETag {
		reply.ETag = tag
	}
	return reply, nil
}

func httpClient(ca string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("the CA file has no certificate")
		}
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: headWithin, ResponseHeaderTimeout: headWithin, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(to *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s, which is not followed: configure that address", to.URL.Redacted())
		},
	}, nil
}

// authorization is the header for "user:password" or a bearer token.
func authorization(token string) string {
	if strings.Contains(token, ":") {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(token))
	}
	return "Bearer " + token
}
