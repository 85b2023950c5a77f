package web

import (
	"embed"
	"fmt"
	"html/template"
	"net/http"

	"snitch/cmd/internal/web/gate"
	"snitch/cmd/internal/web/ui"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are the two documents: the shell that the bundle fills, and what is
// shown to who is not signed in.
type pages struct {
	templates *template.Template
	data      pageData
}

type pageData struct {
	Assets  string // address below which they are
	Version string
	Theme   string // light, dark, or "" as the system has it
	Token   string // name of the parameter
	Peer    bool   // nobody signs in: the socket says who asks
	Fleet   bool   // the record is of several hosts
}

func newPages(assets *ui.Assets, version string, peer, fleet bool) (*pages, error) {
	t, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	return &pages{t, pageData{Assets: "/assets/" + assets.Sum(), Version: version, Token: gate.TokenParam, Peer: peer, Fleet: fleet}}, nil
}

// paths are those of the pages of the interface.
var paths = map[string]bool{"/": true, "/explore": true, "/live": true, "/alerts": true, "/policy": true, "/health": true}

func (p *pages) shell(w http.ResponseWriter, r *http.Request) {
	switch {
	case !paths[r.URL.Path]:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "a page is only read", http.StatusMethodNotAllowed)
		return
	}
	p.write(w, r, http.StatusOK, "shell.html")
}

func (p *pages) signIn(w http.ResponseWriter, r *http.Request) {
	p.write(w, r, http.StatusUnauthorized, "signin.html")
}

func (p *pages) write(w http.ResponseWriter, r *http.Request, code int, name string) {
	data := p.data
	// The choice of a person, in a cookie so that the first paint has it.
	if c, err := r.Cookie("snitch-theme"); err == nil && (c.Value == "light" || c.Value == "dark") {
		data.Theme = c.Value
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_ = p.templates.ExecuteTemplate(w, name, data) // the peer left
}
