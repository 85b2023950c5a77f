package fleet

import (
	"net/http"
	"net/http/cgi"
	"path/filepath"
	"strings"
	"testing"

	"snitch/policy/bundle"
)

// TestGitHTTPS fetches from git's own server behind TLS.
func TestGitHTTPS(t *testing.T) {
	r := newRepository(t)
	key, signer := r.sshKey("mine")
	r.sign("ssh", key)
	head := r.commit("first", "-S")
	server := newShop(t)
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(r.run("git", "--exec-path")), "git-http-backend"), Stderr: t.Output(),
		Env: append(r.env(), "GIT_PROJECT_ROOT="+filepath.Dir(r.dir), "GIT_HTTP_EXPORT_ALL=1")}
	server.offer(func(w http.ResponseWriter, q *http.Request) {
		if user, password, _ := q.BasicAuth(); user != "x-access-token" || password != "sesame" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if rest, moved := strings.CutPrefix(q.URL.Path, "/moved"); moved {
			http.Redirect(w, q, rest+"?"+q.URL.RawQuery, http.StatusFound)
			return
		}
		backend.ServeHTTP(w, q)
	})
	good := Config{Kind: KindGit, URL: server.URL + "/rules", Branch: "main", Path: "rules", CA: server.ca,
		Token: write(t, filepath.Join(t.TempDir(), "token"), "sesame\n", 0o600), Keys: write(t, filepath.Join(t.TempDir(), "signers"), signer, 0o644)}
	s := newSource(t, good)
	looks(t, s, "")
	if in := s.State().Current; in == nil || in.Revision != head {
		t.Errorf("in use is %+v, want %s", in, head)
	}
	head = r.commit("second", "-S")
	looks(t, s, "")
	if in := s.State().Current; in == nil || in.Revision != head {
		t.Errorf("in use is %+v, want %s", in, head)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no token":         {func(c *Config) { c.Token = "" }, "could not read Username"},
		"another token":    {func(c *Config) { c.Token = write(t, filepath.Join(t.TempDir(), "token"), "open\n", 0o600) }, "could not read Username"},
		"token is gone":    {func(c *Config) { c.Token = good.Keys + "2" }, "no such file"},
		"another server":   {func(c *Config) { c.CA = "" }, "certificate"},
		"another address":  {func(c *Config) { c.URL = server.URL + "/moved/rules" }, "302"},
		"no repository":    {func(c *Config) { c.URL = server.URL + "/none" }, "not found"},
		"no branch":        {func(c *Config) { c.Branch = "none" }, "it has no branch none"},
		"no directory":     {func(c *Config) { c.Path = "rules/none" }, "it has no directory rules/none"},
		"nobody may sign":  {func(c *Config) { c.Keys = server.ca }, "ca.pem"},
		"other protocols":  {func(c *Config) { c.URL = "ext::sh -c true" }, "transport 'ext' not allowed"},
		"no such transfer": {func(c *Config) { c.URL = "http" + server.URL[len("https"):] }, "transport 'http' not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			looks(t, newSource(t, cfg), c.want)
		})
	}
}

// TestSignatures: only what one of the keys signed is used, whatever made it.
func TestSignatures(t *testing.T) {
	r := newRepository(t)
	ssh, signer := r.sshKey("mine")
	other, _ := r.sshKey("other")
	t.Cleanup(func() { r.run("gpgconf", "--kill", "all") }) // gpg starts an agent
	for _, name := range []string{"mine", "other"} {
		r.run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", name+"@example.org", "ed25519", "sign", "never")
	}
	pgp := r.run("gpg", "--armor", "--export", "mine@example.org")
	signers := write(t, filepath.Join(t.TempDir(), "signers"), signer, 0o644)
	keyring := write(t, filepath.Join(t.TempDir(), "keys.asc"), pgp, 0o644)
	source := func(keys string) *Source {
		return newSource(t, Config{Kind: KindGit, URL: "file://" + r.dir, Branch: "main", Path: "rules", Keys: keys})
	}
	bySSH, byPGP := source(signers), source(keyring)

	r.sign("ssh", ssh)
	r.commit("ssh", "-S")
	looks(t, bySSH, "")
	looks(t, byPGP, "its signature is none of OpenPGP, and the keys are")
	first := r.commit("nobody", "--no-gpg-sign")
	looks(t, bySSH, "is not signed")
	looks(t, byPGP, "is not signed")
	r.sign("ssh", other)
	r.commit("ssh of another", "-S")
	looks(t, bySSH, bundle.ErrSignature.Error())

	r.sign("openpgp", "other@example.org")
	r.commit("pgp of another", "-S")
	looks(t, byPGP, bundle.ErrSignature.Error())
	r.sign("openpgp", "mine@example.org")
	head := r.commit("pgp", "-S")
	looks(t, byPGP, "")
	looks(t, bySSH, "SSH")
	if in := byPGP.State().Current; in == nil || in.Revision != head {
		t.Errorf("in use is %+v, want %s", in, head)
	}
	r.git("reset", "--quiet", "--hard", first)
	r.commit("pgp on another way", "-S")
	looks(t, byPGP, "does not go on")
	if st := byPGP.State(); st.Refused != 4 || st.Failures != 0 || st.Current.Revision != head {
		t.Errorf("%+v", st)
	}
}
