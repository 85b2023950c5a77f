package gate_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"snitch/cmd/internal/web/gate"
)

const secretPage = "what only the person may see"

// door is a server behind a gate that wants a token.
func door(t *testing.T, keys *gate.Keys) *httptest.Server {
	t.Helper()
	g := gate.New(gate.Config{Hosts: gate.Hosts{"box.example"}, Keys: keys, Cookie: "snitch-1",
		SignIn: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "sign in")
		})})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/signout", g.SignOut)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, secretPage) })
	s := httptest.NewUnstartedServer(g.Guard(mux, func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/assets/") }))
	s.Config.ConnContext = g.ConnContext
	s.Start()
	t.Cleanup(s.Close)
	return s
}

type request struct {
	method, path, host, cookie string
	header                     map[string]string
}

func (q request) do(t *testing.T, s *httptest.Server) *http.Response {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(t.Context(), q.method, s.URL+q.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q.host != "" {
		r.Host = q.host
	}
	if q.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "snitch-1", Value: q.cookie})
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	c := s.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), secretPage) != (resp.StatusCode == http.StatusOK && q.path != "/assets/x") && q.path != "/assets/x" {
		t.Errorf("%s %s answered %d with %q", q.method, q.path, resp.StatusCode, body)
	}
	return resp
}

func signIn(t *testing.T, s *httptest.Server, keys *gate.Keys) string {
	t.Helper()
	resp := request{path: "/explore?by=exe&token=" + keys.Token()}.do(t, s)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/explore?by=exe" {
		t.Fatalf("signing in answered %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, c := range resp.Cookies() {
		if c.Name == "snitch-1" {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
				t.Errorf("the cookie is %q", c.Raw)
			}
			return c.Value
		}
	}
	t.Fatal("no cookie")
	return ""
}

// TestWhoMayPass goes through the ways in which a stranger could ask.
func TestWhoMayPass(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	cookie := signIn(t, s, keys)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	for _, c := range []struct {
		name string
		ask  request
		want int
	}{
		{"a person who signed in", request{path: "/", cookie: cookie}, 200},
		{"their page's question", request{path: "/api/x", cookie: cookie, header: map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}}, 200},
		{"a program with the cookie", request{path: "/api/x", cookie: cookie}, 200},
		{"nobody, a page", request{path: "/"}, 401},
		{"nobody, a question", request{path: "/api/x"}, 401},
		{"a made-up cookie", request{path: "/api/x", cookie: strings.Repeat("A", 43)}, 401},
		{"an empty cookie", request{path: "/api/x", cookie: "x"}, 401},
		{"a wrong token", request{path: "/?token=wrong"}, 401},
		{"a token in a question", request{path: "/api/x?token=" + keys.Token()}, 401},
		{"a token by POST", request{method: "POST", path: "/?token=" + keys.Token()}, 401},
		{"a foreign name for our address", request{path: "/", cookie: cookie, host: "evil.example" + port}, 421},
		{"a foreign name without a port", request{path: "/api/x", cookie: cookie, host: "evil.example"}, 421},
		{"a name that only begins like ours", request{path: "/", cookie: cookie, host: "localhost.evil.example"}, 421},
		{"a name that looks like an address", request{path: "/", cookie: cookie, host: "127.0.0.1.nip.example"}, 421},
		{"a foreign name, signing in", request{path: "/?token=" + keys.Token(), host: "evil.example"}, 421},
		{"a foreign name, an asset", request{path: "/assets/x", host: "evil.example"}, 421},
		{"localhost", request{path: "/", cookie: cookie, host: "localhost" + port}, 200},
		{"a name that we were given", request{path: "/", cookie: cookie, host: "Box.Example:80"}, 200},
		{"an address of version 6", request{path: "/", cookie: cookie, host: "[::1]" + port}, 200},
		{"another site's form", request{method: "POST", path: "/api/x", cookie: cookie, header: map[string]string{"Origin": "https://evil.example"}}, 403},
		{"another site's fetch", request{method: "POST", path: "/api/x", cookie: cookie, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		{"another port's form", request{method: "POST", path: "/api/x", cookie: cookie, header: map[string]string{"Sec-Fetch-Site": "same-site"}}, 403},
		{"another port's image", request{path: "/api/x", cookie: cookie, header: map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}}, 403},
		{"another site's image", request{path: "/api/x", cookie: cookie, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		{"another site's frame of a page", request{path: "/", cookie: cookie, header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}}, 403},
		{"an origin of null", request{method: "POST", path: "/api/x", cookie: cookie, header: map[string]string{"Origin": "null"}}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.ask.do(t, s).StatusCode; got != c.want {
				t.Errorf("answered %d, want %d", got, c.want)
			}
		})
	}
}

// TestTokenWorksOnce signs in twice with one token.
func TestTokenWorksOnce(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	token := keys.Token()
	if got := (request{path: "/?token=" + token}).do(t, s).StatusCode; got != http.StatusSeeOther {
		t.Fatalf("the first use answered %d", got)
	}
	if got := (request{path: "/?token=" + token}).do(t, s).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("the second use answered %d", got)
	}
	replaced := keys.Token()
	keys.Token()
	if got := (request{path: "/?token=" + replaced}).do(t, s).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("a token that was replaced answered %d", got)
	}
}

// TestReloadedAddress opens an address with a used token while signed in.
func TestReloadedAddress(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	cookie := signIn(t, s, keys)
	resp := request{path: "/?token=used", cookie: cookie}.do(t, s)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Errorf("answered %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// TestSignInLeadsNowhereElse tries to make the redirect leave this host.
func TestSignInLeadsNowhereElse(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	for _, path := range []string{"//evil.example/", "/\\evil.example", "///evil.example", "/%2f/evil.example", "//evil.example//"} {
		resp := request{path: path + "?token=" + keys.Token()}.do(t, s)
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || to.Host != "" || strings.HasPrefix(resp.Header.Get("Location"), "//") {
			t.Errorf("%s leads to %q", path, resp.Header.Get("Location"))
		}
	}
}

// TestSignInFromAnotherSite follows a link of another site: the strict cookie
// would not come along with a redirect.
func TestSignInFromAnotherSite(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/live?token="+keys.Token(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Refresh") != "0; url=/live" {
		t.Errorf("answered %d, Refresh %q", resp.StatusCode, resp.Header.Get("Refresh"))
	}
}

// TestSignOut ends a session.
func TestSignOut(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	cookie := signIn(t, s, keys)
	if got := (request{method: "POST", path: "/api/signout", cookie: cookie}).do(t, s).StatusCode; got != http.StatusNoContent {
		t.Fatalf("signing out answered %d", got)
	}
	if got := (request{path: "/", cookie: cookie}).do(t, s).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("then the page answered %d", got)
	}
}

// TestHeaders holds what protects every answer, refusals included.
func TestHeaders(t *testing.T) {
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	for _, q := range []request{{path: "/"}, {path: "/api/x"}, {path: "/assets/x"}, {path: "/", host: "evil.example"}} {
		h := q.do(t, s).Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", q.path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", q.path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", q.path, name, got, want)
			}
		}
	}
}

// TestSessions ages sessions and makes too many.
func TestSessions(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	keys := gate.NewKeys(func() time.Time { return now })
	anna := gate.Owner{UID: 1000, Known: true}
	open := func() string {
		c, ok := keys.Redeem(keys.Token(), anna)
		if !ok {
			t.Fatal("the token was refused")
		}
		return c
	}
	idle, used := open(), open()
	for range 6 {
		now = now.Add(6 * 24 * time.Hour)
		keys.Known(used, anna)
	}
	if keys.Known(idle, anna) {
		t.Error("a session lives that was idle for weeks")
	}
	if keys.Known(used, anna) {
		t.Error("a session lives after 36 days")
	}
	first := open()
	for range 64 {
		now = now.Add(time.Second)
		open()
	}
	if keys.Known(first, anna) {
		t.Error("the oldest of too many sessions lives")
	}
	last := open()
	for _, other := range []gate.Owner{{UID: 1001, Known: true}, {}, {UID: 1000}} {
		if keys.Known(last, other) {
			t.Errorf("%+v uses the session of %+v", other, anna)
		}
	}
	if !keys.Known(last, anna) {
		t.Error("its owner may not use it")
	}
}

// TestStolenCookie gives the cookie to a program of another user of this
// machine, as its server on another port would get it from the browser.
func TestStolenCookie(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing feature: root, to be another user")
	}
	keys := gate.NewKeys(time.Now)
	s := door(t, keys)
	cookie := signIn(t, s, keys)
	ask := func(uid uint32) string {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// The test binary lies in a directory of root: the child gets it open.
		f, err := os.Open(exe)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^$")
		cmd.ExtraFiles = []*os.File{f}
		cmd.Env = []string{"GATE_TEST_ASK=" + s.URL + "/api/x", "GATE_TEST_COOKIE=" + cookie}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ask as %d: %v: %s", uid, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := ask(0); got != "200" {
		t.Errorf("the user who signed in got %s", got)
	}
	if got := ask(65534); got != "401" {
		t.Errorf("another user with the cookie got %s", got)
	}
}

// TestMain makes the test binary a client of another user.
func TestMain(m *testing.M) {
	address := os.Getenv("GATE_TEST_ASK")
	if address == "" {
		os.Exit(m.Run())
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	r.AddCookie(&http.Cookie{Name: "snitch-1", Value: os.Getenv("GATE_TEST_COOKIE")})
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(resp.StatusCode)
	_ = resp.Body.Close()
	os.Exit(0)
}

// FuzzHosts feeds Host headers: what passes is an address or a name of ours.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"localhost:5100", "127.0.0.1", "[::1]:80", "evil.example", "[::1", "localhost:", ":80", "[localhost]:1", "1.2.3.4.evil.example", "[fe80::1%25eth0]:1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !(gate.Hosts{"box.example"}).Allows(host) {
			return
		}
		name := strings.ToLower(host)
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		name = strings.Trim(name, "[]")
		address, _, _ := strings.Cut(name, "%") // a zone
		if name != "localhost" && name != "box.example" && net.ParseIP(address) == nil {
			t.Errorf("%q passes", host)
		}
	})
}
