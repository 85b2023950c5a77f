package geoip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Bounds of a fetch.
const (
	fetchWithin  = 15 * time.Minute
	headerWithin = 30 * time.Second
	maxRedirects = 5
)

// ErrNotPublished says that there is nothing at an address.
var ErrNotPublished = errors.New("it is not there")

// Addresses are where the table of a kind is published: that of this month
// and, for the first days of a month, that of the month before.
func Addresses(kind Kind, now time.Time) []string {
	var out []string
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	for _, month := range []time.Time{first, first.AddDate(0, -1, 0)} {
		out = append(out, fmt.Sprintf("https://download.db-ip.com/free/dbip-%s-lite-%s.mmdb.gz", kind, month.Format("2006-01")))
	}
	return out
}

// Fetch copies what is at address to w, at most MaxFile bytes. It follows
// redirects, but not from https to http, and speaks http only to this host. It
// should be called in a process without privileges.
func Fetch(ctx context.Context, address string, w io.Writer) error {
	u, err := url.Parse(address)
	if err == nil {
		err = safe(u)
	}
	if err != nil {
		return fmt.Errorf("fetch table of places: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	if err := fetch(ctx, u, w); err != nil {
		return fmt.Errorf("fetch %s: %w", u.Redacted(), err)
	}
	return nil
}

// safe refuses addresses over which anybody on the way could put a table of
// theirs.
func safe(u *url.URL) error {
	host, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && host.IsLoopback()
	switch {
	case u.Host == "":
		return fmt.Errorf("%q is no address of a table", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && local:
		return nil
	}
	return fmt.Errorf("%s is not https", u.Redacted())
}

func fetch(ctx context.Context, u *url.URL, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "snitch geoip update")
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: headerWithin}).DialContext,
			TLSHandshakeTimeout: headerWithin, ResponseHeaderTimeout: headerWithin, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if len(before) > maxRedirects {
				return errors.New("too many redirects")
			}
			if before[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
				return errors.New("redirected from https to http")
			}
			return safe(next.URL)
		}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return ErrNotPublished
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the server says %q", resp.Status)
	case resp.ContentLength > MaxFile:
		return fmt.Errorf("it has %d bytes, more than %d", resp.ContentLength, MaxFile)
	}
	n, err := io.Copy(w, io.LimitReader(resp.Body, MaxFile+1))
	if err == nil && n > MaxFile {
		err = fmt.Errorf("it has more than %d bytes", MaxFile)
	}
	return err
}
