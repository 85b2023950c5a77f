package fleet

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"snitch/policy/bundle"
)

// shop is an HTTPS server whose answer changes.
type shop struct {
	*httptest.Server
	ca string // file

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not trust it
	s.StartTLS()
	t.Cleanup(s.Close)
	s.ca = write(t, filepath.Join(t.TempDir(), "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})), 0o644)
	return s
}

func (s *shop) offer(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// bytesOf answers with data.
func bytesOf(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) } // a client that went away is its own problem
}

func seal(t *testing.T, serial uint64, private []byte) []byte {
	t.Helper()
	id := fmt.Sprintf("serial-%d", serial)
	packed, err := bundle.Seal(&bundle.Snapshot{Files: []bundle.File{{Path: "a.yaml", Data: []byte(rules(id))}}}, bundle.Release{Serial: serial, Percent: 100}, private)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// TestBundleServer: what a server may answer instead of the next bundle, what a
// person is told of it, and that the set in use stays.
func TestBundleServer(t *testing.T) {
	server := newShop(t)
	private, keys := newKeys(t)
	others, _ := newKeys(t)
	s := newSource(t, Config{Kind: KindBundle, URL: server.URL + "/rules.tar.gz", Keys: keys, CA: server.ca})
	for _, step := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		serial uint64 // in use then
	}{
		{"nothing", http.NotFound, "answers \\\"404 Not Found\\\"", 0},
		{"the first", bytesOf(seal(t, 1, private)), "", 1},
		{"another address", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
			"it redirects to " + server.URL + "/other, which is not followed: configure that address", 1},
		{"a page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte("<!doctype html><title>Sign in</title>"))
		}, "answers with a web page instead of a bundle", 1},
		{"no archive", bytesOf([]byte("rules")), "read bundle: ", 1},
		{"too large, said before", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(bundle.MaxPacked+1))
		}, fmt.Sprintf("has %d bytes, more than %d", bundle.MaxPacked+1, bundle.MaxPacked), 1},
		{"too large", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, fmt.Sprintf("more than %d bytes", bundle.MaxPacked), 1},
		{"half of it", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
		}, "unexpected EOF", 1},
		{"another's signature", bytesOf(seal(t, 2, others)), bundle.ErrSignature.Error(), 1},
		{"the second", bytesOf(seal(t, 2, private)), "", 2},
		{"the first again", bytesOf(seal(t, 1, private)), "serial 1, and 2 was used: it is not newer than what was used", 2},
		{"the second again", bytesOf(seal(t, 2, private)), "", 2},
	} {
		t.Run(step.name, func(t *testing.T) {
			server.offer(step.answer)
			looks(t, s, step.want)
			if in := s.State().Current; step.serial != 0 && (in == nil || in.Serial != step.serial) {
				t.Errorf("in use is %+v, want serial %d", in, step.serial)
			}
		})
	}
	st := s.State()
	if st.Looks != 12 || st.Failures != 6 || st.Refused != 3 || st.Percent != 100 {
		t.Errorf("%d looks, %d failed, %d refused; for %d %%", st.Looks, st.Failures, st.Refused, st.Percent)
	}
	set, err := s.Read()
	if err != nil || !bytes.Contains(set.Files[0].Data, []byte("serial-2")) {
		t.Errorf("the set is %+v, %v", set, err)
	}
}

// TestBundleServerHangs: a look ends with its time, in the head and in the body.
func TestBundleServerHangs(t *testing.T) {
	server := newShop(t)
	_, keys := newKeys(t)
	s := newSource(t, Config{Kind: KindBundle, URL: server.URL, Keys: keys, CA: server.ca})
	for name, say := range map[string]string{"head": "", "body": "a few bytes"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server.offer(func(w http.ResponseWriter, r *http.Request) {
				if say != "" {
					_, _ = w.Write([]byte(say))
					_ = http.NewResponseController(w).Flush()
				}
				cancel()
				<-r.Context().Done()
			})
			if err := s.look(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the look ended with %v", err)
			}
		})
	}
}

// TestBundleServerIsPinned: a server of another authority is none.
func TestBundleServerIsPinned(t *testing.T) {
	server := newShop(t)
	server.offer(http.NotFound)
	_, keys := newKeys(t)
	looks(t, newSource(t, Config{Kind: KindBundle, URL: server.URL, Keys: keys}), "x509: ")
	looks(t, newSource(t, Config{Kind: KindBundle, URL: server.URL, Keys: keys, CA: keys}), "the CA file has no certificate")
	looks(t, newSource(t, Config{Kind: KindBundle, URL: "http" + server.URL[len("https"):], Keys: keys}), "is no HTTPS address")
	looks(t, newSource(t, Config{Kind: KindBundle, URL: server.URL, Keys: server.ca, CA: server.ca}), `a "CERTIFICATE" does not belong there, only PUBLIC KEY`)
}
