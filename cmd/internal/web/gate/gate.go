package gate

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// TokenParam is the parameter of an address that signs in.
const TokenParam = "token"

// Config is what New needs.
type Config struct {
	Hosts Hosts
	// Keys are nil where the socket itself says who asks (Admits).
	Keys *Keys
	// Admits reports whether the peer of a connection may ask; nil with Keys.
	Admits func(net.Conn) bool
	// Cookie is its name. Ports share cookies, so it is one for each of ours.
	Cookie string
	// SignedIn is called after a token was used.
	SignedIn func(Owner)
	// SignIn answers a page's request of somebody unknown.
	SignIn http.Handler
}

// Gate guards a handler. It is safe for concurrent use.
type Gate struct {
	cfg    Config
	origin *http.CrossOriginProtection
}

// New makes a gate.
func New(cfg Config) *Gate {
	return &Gate{cfg: cfg, origin: http.NewCrossOriginProtection()}
}

type admittedKey struct{}

// ConnContext is for http.Server.
func (g *Gate) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if inner, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = inner.NetConn()
	}
	if g.cfg.Admits != nil {
		return context.WithValue(ctx, admittedKey{}, g.cfg.Admits(conn))
	}
	return withOwner(ctx, conn)
}

// Guard lets to next what may pass. Paths for which open is true need no
// session: they hold nothing that is worth one.
func (g *Gate) Guard(next http.Handler, open func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers(w.Header())
		if !g.cfg.Hosts.Allows(r.Host) {
			w.Header().Set("Connection", "close")
			http.Error(w, fmt.Sprintf("this is snitch, which is not called %q; name it with SNITCH_HOST", clip(r.Host)), http.StatusMisdirectedRequest)
			return
		}
		if err := g.origin.Check(r); err != nil {
			http.Error(w, "another site may not ask", http.StatusForbidden)
			return
		}
		if open(r) {
			next.ServeHTTP(w, r)
			return
		}
		if g.cfg.Keys == nil {
			g.byPeer(w, r, next)
			return
		}
		g.byCookie(w, r, next)
	})
}

func (g *Gate) byPeer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if ok, _ := r.Context().Value(admittedKey{}).(bool); !ok {
		w.Header().Set("Connection", "close")
		http.Error(w, "only root, the user of snitch web and members of its group may ask", http.StatusForbidden)
		return
	}
	next.ServeHTTP(w, r)
}

func (g *Gate) byCookie(w http.ResponseWriter, r *http.Request, next http.Handler) {
	owner := ownerIn(r.Context())
	page := isPage(r)
	if token := r.URL.Query().Get(TokenParam); token != "" && page && r.Method == http.MethodGet {
		g.signIn(w, r, token, owner)
		return
	}
	c, err := r.Cookie(g.cfg.Cookie)
	known := err == nil && g.cfg.Keys.Known(c.Value, owner)
	switch {
	case known && (page || sameOrigin(r)):
		next.ServeHTTP(w, r)
	case known:
		http.Error(w, "another site may not ask", http.StatusForbidden)
	case page:
		w.Header().Set("Connection", "close")
		g.cfg.SignIn.ServeHTTP(w, r)
	default:
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"not signed in"}` + "\n")) // the peer left
	}
}

// signIn changes the token for a cookie, and goes on without the token in the
// address.
func (g *Gate) signIn(w http.ResponseWriter, r *http.Request, token string, owner Owner) {
	value, ok := g.cfg.Keys.Redeem(token, owner)
	if !ok {
		// A reload of the address, or its second tab: the session stands.
		if c, err := r.Cookie(g.cfg.Cookie); err != nil || !g.cfg.Keys.Known(c.Value, owner) {
			g.cfg.SignIn.ServeHTTP(w, r)
			return
		}
	} else {
		http.SetCookie(w, &http.Cookie{Name: g.cfg.Cookie, Value: value, Path: "/", HttpOnly: true,
			SameSite: http.SameSiteStrictMode, MaxAge: int(sessionFor / time.Second)})
		if g.cfg.SignedIn != nil {
			g.cfg.SignedIn(owner)
		}
	}
	target := withoutToken(r.URL)
	// From another site's link the browser would not send a strict cookie along
	// with a redirect. With a page of ours in between it does.
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		w.Header().Set("Refresh", "0; url="+target)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("signed in\n")) // the peer left
		return
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// withoutToken is the address to go on with: on this host, whatever the path
// looks like.
func withoutToken(u *url.URL) string {
	q := u.Query()
	q.Del(TokenParam)
	target := "/" + strings.TrimLeft(u.EscapedPath(), "/")
	if rest := q.Encode(); rest != "" {
		target += "?" + rest
	}
	return target
}

// SignOut ends the session of a request.
func (g *Gate) SignOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(g.cfg.Cookie); err == nil && g.cfg.Keys != nil {
		g.cfg.Keys.Forget(c.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: g.cfg.Cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
}

// isPage reports whether a person goes to a page, for whom an answer is HTML.
func isPage(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && !isAPI(r)
}

func isAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/")
}

// sameOrigin refuses that a page of another port of this host, to which our
// cookie goes too, embeds what we answer. Clients that are no browsers say
// nothing.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

// policy is what pages may do: nothing but what comes from here, no inline
// script or style, and no text that becomes HTML or script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
}

// clip bounds what a stranger wrote.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
