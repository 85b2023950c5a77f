package geoip

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestInstall: what is no table, or not the one that was asked for, changes
// nothing and leaves nothing behind.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	good := countryTable(t, madeAt)
	put(t, dir, KindCountry, zipped(t, good))
	for _, tc := range []struct {
		name string
		kind Kind
		data []byte
		want string
	}{
		{"text", KindCountry, []byte("<html>not found"), "it is no table of places"},
		{"empty", KindCountry, nil, "it is empty"},
		{"cut", KindCountry, good[:len(good)/2], "it is no table of places"},
		{"cut gzip", KindCountry, zipped(t, good)[:40], "unexpected EOF"},
		{"bad gzip", KindCountry, []byte{0x1f, 0x8b, 0, 0}, "uncompress"},
		{"another kind", KindCity, good, "has no cities in it"},
		{"networks", KindASN, good, "has no networks in it"},
		{"from the future", KindCountry, countryTable(t, time.Now().AddDate(0, 1, 0)), "it says that it was made on"},
		{"older", KindCountry, countryTable(t, madeAt.AddDate(0, 0, -1)), "the installed table is newer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Install(dir, tc.kind, bytes.NewReader(tc.data), false)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if now, err := os.ReadFile(filepath.Join(dir, "country.mmdb")); err != nil || !bytes.Equal(now, good) {
				t.Errorf("the installed table changed (%v)", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
	if _, err := Install(dir, KindCountry, bytes.NewReader(countryTable(t, madeAt.AddDate(0, 0, -1))), true); err != nil {
		t.Errorf("forced: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "country.mmdb"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
}

// TestFetch: a table comes over the wire; what a server may do wrong is said.
func TestFetch(t *testing.T) {
	data := zipped(t, countryTable(t, madeAt))
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/good", http.StatusFound)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(MaxFile+1))
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:10])
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, tc := range []struct{ url, want string }{
		{server.URL + "/good", ""}, {server.URL + "/moved", ""}, {server.URL + "/loop", "too many redirects"}, {server.URL + "/away", "is not https"},
		{server.URL + "/broken", `the server says "502 Bad Gateway"`}, {server.URL + "/huge", "more than 536870912"}, {server.URL + "/short", "unexpected EOF"},
		{server.URL + "/none", "it is not there"}, {"http://192.0.2.1/x", "is not https"}, {"file:///etc/passwd", "no address of a table"}, {"ftp://127.0.0.1/x", "is not https"}, {"::", "missing protocol scheme"},
	} {
		var got bytes.Buffer
		err := Fetch(t.Context(), tc.url, &got)
		if tc.want == "" {
			if err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("%s: %d bytes (%v)", tc.url, got.Len(), err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.url, err, tc.want)
		}
	}
	if err := Fetch(t.Context(), server.URL+"/none", io.Discard); !errors.Is(err, ErrNotPublished) {
		t.Errorf("nothing there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fetch(ctx, server.URL+"/good", io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	got := Addresses(KindCity, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	if len(got) != 2 || !strings.HasSuffix(got[0], "/dbip-city-lite-2026-01.mmdb.gz") || !strings.HasSuffix(got[1], "/dbip-city-lite-2025-12.mmdb.gz") {
		t.Errorf("addresses %q", got)
	}
}
