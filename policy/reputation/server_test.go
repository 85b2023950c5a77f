package reputation

import (
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"snitch/monitor/event"
)

// server speaks the interface of VirusTotal, version 3, as its documentation has
// it: files by digest, uploads, an address for large ones, quotas and keys.
type server struct {
	*httptest.Server
	ca []byte

	mu    sync.Mutex // guards what follows
	known map[string]map[string]uint32
	took  map[string]int64 // uploaded: digest and size
	asked []string
	next  []answer // before anything else
	place string   // of large files; "": its own
}

// answer is what the server says whatever is asked.
type answer struct {
	code   int
	header map[string]string
	body   string
}

const testKey = "0123456789abcdef"

func newServer(t *testing.T) *server {
	s := &server{known: map[string]map[string]uint32{}, took: map[string]int64{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	if len(s.next) > 0 {
		a := s.next[0]
		s.next = s.next[1:]
		s.mu.Unlock()
		for k, v := range a.header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(a.code)
		_, _ = io.WriteString(w, a.body)
		return
	}
	place := s.place
	s.mu.Unlock()
	if r.Header.Get("x-apikey") != testKey {
		http.Error(w, `{"error":{"code":"WrongCredentialsError"}}`, http.StatusUnauthorized)
		return
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/api/v3/files/upload_url":
		if place == "" {
			place = s.URL + "/_ah/upload/x"
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"data": place})
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v3/files/"):
		s.look(w, strings.TrimPrefix(r.URL.Path, "/api/v3/files/"))
	case r.Method == http.MethodPost && (r.URL.Path == "/api/v3/files" || r.URL.Path == "/_ah/upload/x"):
		s.take(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *server) look(w http.ResponseWriter, sha string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats, ok := s.known[sha]
	if !ok {
		http.Error(w, `{"error":{"code":"NotFoundError"}}`, http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"type": "file", "id": sha, "attributes": map[string]any{"sha256": sha, "names": []string{"x"}, "last_analysis_stats": stats}}})
}

func (s *server) take(w http.ResponseWriter, r *http.Request) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form := multipart.NewReader(r.Body, params["boundary"])
	part, err := form.NextPart()
	if err != nil || part.FormName() != "file" {
		http.Error(w, "no file", http.StatusBadRequest)
		return
	}
	sum := sha256.New()
	n, err := io.Copy(sum, part)
	if _, endErr := form.NextPart(); err != nil || endErr != io.EOF {
		http.Error(w, "half a file", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sha := fmt.Sprintf("%x", sum.Sum(nil))
	s.took[sha] = n
	s.known[sha] = map[string]uint32{}
	_, _ = io.WriteString(w, `{"data":{"type":"analysis","id":"x"}}`)
}

func (s *server) say(a ...answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, a...)
}

func (s *server) knows(sha event.Digest, malicious, suspicious, undetected uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[sha.String()] = map[string]uint32{"malicious": malicious, "suspicious": suspicious, "undetected": undetected, "harmless": 0, "timeout": 3}
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.asked...)
}

func (s *server) has(sha event.Digest) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.took[sha.String()]
	return n, ok
}
