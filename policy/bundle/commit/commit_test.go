package commit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/policy/bundle"
)

// TestOpen reads what real git committed and ssh-keygen signed.
func TestOpen(t *testing.T) {
	for _, c := range []struct{ format, kind string }{{"sha1", "ed25519"}, {"sha256", "ed25519"}, {"sha1", "ecdsa"}, {"sha1", "rsa"}} {
		t.Run(c.format+" "+c.kind, func(t *testing.T) {
			r := newRepository(t, c.format)
			allowed, other := r.key("mine", c.kind), r.key("other", "ed25519")
			first := r.commit("rules/base.yaml", "version: 1\n", "mine", "first")
			r.commit("README", "x", "", "not signed, and not at the tip")
			r.commit("rules/.hidden", "x", "", "hidden")
			tip := r.commit("rules/lists/bad.txt", "example.org\n", "mine", "a longer message\n\ngpgsig in the message\n and more")
			o := r.read(r.objects(), tip)
			want := Want{Source: "here", Tip: tip, Path: "rules", Newest: first, Signers: signers(t, other, allowed)}
			s, release, err := Open(o, want)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Files) != 2 || s.Files[0].Path != "base.yaml" || string(s.Files[1].Data) != "example.org\n" || s.Revision != tip || release.Percent != 100 {
				t.Fatalf("got %+v, %+v", s, release)
			}
			want.Path = "."
			if s, _, err = Open(o, want); err != nil || len(s.Files) != 3 {
				t.Fatalf("the root: %+v, %v", s, err)
			}
			for name, change := range map[string]func(w *Want){
				"another's key": func(w *Want) { w.Signers = signers(t, other) },
				"other namespace": func(w *Want) {
					w.Signers = signers(t, other, strings.Replace(allowed, " ", ` namespaces="file" `, 1))
				},
				"too late":         func(w *Want) { w.Signers = signers(t, strings.Replace(allowed, " ", ` valid-before="20200101Z" `, 1)) },
				"too early":        func(w *Want) { w.Signers = signers(t, strings.Replace(allowed, " ", ` valid-after="20990101" `, 1)) },
				"not signed":       func(w *Want) { w.Tip = strings.TrimSpace(r.run("git", "rev-parse", "HEAD~1")) },
				"tip is no commit": func(w *Want) { w.Tip = strings.TrimSpace(r.run("git", "rev-parse", "HEAD^{tree}")) },
				"no such tip":      func(w *Want) { w.Tip = strings.Repeat("0", len(tip)) },
				"no directory":     func(w *Want) { w.Path = "rules/x" },
				"file":             func(w *Want) { w.Path = "README" },
				"rewound":          func(w *Want) { w.Tip, w.Newest = first, tip },
				"other history":    func(w *Want) { w.Newest = strings.Repeat("1", len(tip)) },
			} {
				w := want
				change(&w)
				if s, _, err := Open(o, w); err == nil {
					t.Errorf("%s: opened %d files", name, len(s.Files))
				}
			}
			w := want
			w.Signers = signers(t, strings.Replace(allowed, " ", ` namespaces="file,git",valid-after="20200101",valid-before="20990101120000Z" `, 1))
			if _, _, err := Open(o, w); err != nil {
				t.Errorf("with options: %v", err)
			}
		})
	}
}

// TestHistory: merges are gone through, branches that were rewound are refused,
// and a signed commit may say that it replaces another.
func TestHistory(t *testing.T) {
	r := newRepository(t, "sha1")
	s := signers(t, r.key("mine", "ed25519"))
	base := r.commit("a.yaml", "1", "mine", "base")
	r.run("git", "checkout", "--quiet", "-b", "side")
	side := r.commit("b.yaml", "1", "mine", "side")
	r.run("git", "checkout", "--quiet", "main")
	main := r.commit("a.yaml", "2", "mine", "main")
	r.run("git", "-c", "gpg.format=ssh", "-c", "user.signingKey="+filepath.Join(r.dir, "mine"), "merge", "--quiet", "-S", "-m", "merge", "side")
	merge := r.head()
	r.run("git", "checkout", "--quiet", "side")
	back := r.commit("b.yaml", "2", "mine", "back\n\nSnitch-Replaces: "+merge+"\n")
	o := r.read(r.objects(), merge)
	for _, c := range []struct {
		tip, newest string
		want        bool
	}{
		{merge, merge, true}, {merge, side, true}, {merge, main, true}, {merge, base, true}, {main, base, true},
		{main, merge, false}, {side, main, false}, {base, main, false}, {back, merge, true}, {back, main, false}, {back, side, true},
	} {
		_, _, err := Open(o, Want{Tip: c.tip, Newest: c.newest, Signers: s})
		if c.want != (err == nil) || !c.want && !errors.Is(err, ErrRewound) {
			t.Errorf("%.8s after %.8s: %v", c.tip, c.newest, err)
		}
	}
}

// TestTampered changes single bytes of the objects: what is read is what was
// signed, or nothing.
func TestTampered(t *testing.T) {
	r := newRepository(t, "sha1")
	s := signers(t, r.key("mine", "ed25519"))
	tip := r.commit("rules/a.yaml", "version: 1\n# the rules\n", "mine", "one")
	stream := r.objects()
	good, _, err := Open(r.read(stream, tip), Want{Tip: tip, Path: "rules", Signers: s})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range stream {
		bad := []byte(stream)
		bad[i] ^= 1
		o, err := ReadObjects(strings.NewReader(string(bad)), tip)
		if err == nil {
			var got *bundle.Snapshot
			if got, _, err = Open(o, Want{Tip: tip, Path: "rules", Signers: s}); err == nil && got.Digest() != good.Digest() {
				t.Fatalf("byte %d changes the rules", i)
			}
		}
		if err != nil {
			refused++
		}
	}
	if refused < len(stream)/2 {
		t.Errorf("only %d of %d changes were noticed", refused, len(stream))
	}
	for cut := 0; cut < len(stream); cut += 7 {
		if o, err := ReadObjects(strings.NewReader(stream[:cut]), tip); err == nil {
			if _, _, err := Open(o, Want{Tip: tip, Path: "rules", Signers: s}); err == nil {
				t.Fatalf("%d of %d bytes were enough", cut, len(stream))
			}
		}
	}
}

// TestTrees makes trees that no rules are read from.
func TestTrees(t *testing.T) {
	for name, make := range map[string]func(r *repository) error{
		"symbolic link": func(r *repository) error { return os.Symlink("/etc/passwd", filepath.Join(r.dir, "repo/b.yaml")) },
		"link to a directory": func(r *repository) error {
			return os.Symlink("/etc", filepath.Join(r.dir, "repo/sub"))
		},
		"submodule": func(r *repository) error {
			r.run("git", "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",sub")
			return nil
		},
		"deep": func(r *repository) error {
			dir := filepath.Join(r.dir, "repo", strings.Repeat("d/", maxDepth+2))
			return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "a.yaml"), nil, 0o644))
		},
		"release":         func(r *repository) error { return r.release(`{"percent": 101}`) },
		"unknown release": func(r *repository) error { return r.release(`{"percents": 10}`) },
		"serial":          func(r *repository) error { return r.release(`{"serial": 10}`) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t, "sha1")
			s := signers(t, r.key("mine", "ed25519"))
			if err := make(r); err != nil {
				t.Fatal(err)
			}
			tip := r.commit("a.yaml", "x", "mine", "x")
			if name == "submodule" { // git add takes it away again
				r.run("git", "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",sub")
				r.run("git", "-c", "gpg.format=ssh", "-c", "user.signingKey="+filepath.Join(r.dir, "mine"), "commit", "--quiet", "-S", "-m", "sub")
				tip = r.head()
			}
			if got, _, err := Open(r.read(r.objects(), tip), Want{Tip: tip, Signers: s}); err == nil {
				t.Fatalf("read %+v", got)
			} else {
				t.Log(err)
			}
		})
	}
	r := newRepository(t, "sha1")
	s := signers(t, r.key("mine", "ed25519"))
	if err := r.release(`{"percent": 10, "seed": "b", "expires": "2099-01-01T00:00:00Z"}`); err != nil {
		t.Fatal(err)
	}
	tip := r.commit("a.yaml", "x", "mine", "x")
	got, release, err := Open(r.read(r.objects(), tip), Want{Tip: tip, Signers: s})
	if err != nil || release.Percent != 10 || release.Seed != "b" || release.Expires.Year() != 2099 || len(got.Files) != 1 {
		t.Fatalf("%+v, %v", release, err)
	}
}

func (r *repository) release(text string) error {
	return os.WriteFile(filepath.Join(r.dir, "repo", releaseName), []byte(text), 0o644)
}

// TestNames builds trees with names that git itself would not make.
func TestNames(t *testing.T) {
	for _, name := range []string{"..", ".", "", "a/b", `a\b`, "a\nb", "a\x1bb", strings.Repeat("x", 300)} {
		blob := []byte("x")
		id := idOf(40, kindBlob, blob)
		raw := make([]byte, 20)
		if _, err := fmt.Sscanf(id, "%x", &raw); err != nil {
			t.Fatal(err)
		}
		tree := append([]byte(modeFile+" "+name+"\x00"), raw...)
		o := &Objects{size: 40, objects: map[string]object{id: {kindBlob, blob}}}
		root := idOf(40, kindTree, tree)
		o.objects[root] = object{kindTree, tree}
		w := walk{objects: o, out: &bundle.Snapshot{}}
		if err := w.tree(root, "", 0); err == nil {
			t.Errorf("%q was read", name)
		}
	}
}

func TestSignersRefused(t *testing.T) {
	r := newRepository(t, "sha1")
	good := r.key("mine", "ed25519")
	r.run("ssh-keygen", "-q", "-N", "", "-t", "rsa", "-b", "1024", "-f", "short")
	short, err := os.ReadFile(filepath.Join(r.dir, "short.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "# nobody\n\n", "no key": "a@example.org", "nonsense": "a@example.org ssh-ed25519 AAAA", "short": "a@example.org " + string(short),
		"authority":       strings.Replace(good, " ", " cert-authority ", 1),
		"moment":          strings.Replace(good, " ", ` valid-before="tomorrow" `, 1),
		"only for others": strings.Replace(good, " ", ` namespaces="file" `, 1),
		"many":            strings.Repeat(good, maxSigners+1),
	} {
		if s, err := ReadSigners([]byte(text), time.Now); err == nil {
			t.Errorf("%s: %d keys", name, len(s.keys))
		}
	}
}

// FuzzObjects reads any stream and opens what it says is the tip.
func FuzzObjects(f *testing.F) {
	r := newRepository(f, "sha1")
	s := signers(f, r.key("mine", "ed25519"))
	tip := r.commit("rules/a.yaml", "version: 1\n", "mine", "one")
	stream := r.objects()
	good, _, err := Open(r.read(stream, tip), Want{Tip: tip, Path: "rules", Signers: s})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(stream))
	f.Add([]byte(tip + " commit 3\nabc\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ReadObjects(strings.NewReader(string(data)), tip)
		if err != nil {
			return
		}
		if got, _, err := Open(o, Want{Tip: tip, Path: "rules", Signers: s}); err == nil && got.Digest() != good.Digest() {
			t.Fatal("read what nobody signed")
		}
	})
}

// FuzzCommit: parsing ends, and the payload never has the signature.
func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree " + strings.Repeat("1", 40) + "\nparent " + strings.Repeat("2", 40) + "\nauthor a\ngpgsig -----BEGIN\n more\n -----END\n\nmessage"))
	f.Add([]byte("tree x\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCommit(data)
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(string(c.payload), "\n\n")
		if strings.Contains("\n"+head, "\ngpgsig ") || !strings.HasPrefix(head, "tree ") {
			t.Fatalf("payload %q", c.payload)
		}
	})
}

// FuzzSigners: what is read verifies nothing by accident.
func FuzzSigners(f *testing.F) {
	f.Add([]byte(`a@example.org namespaces="git",valid-after="20200101" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0000000000000000000000000000000000000000000`), []byte("SSHSIG"))
	f.Fuzz(func(t *testing.T, text, armored []byte) {
		s, err := ReadSigners(text, time.Now)
		if err != nil {
			return
		}
		if err := s.Verify([]byte("payload"), armored); err == nil {
			t.Fatal("verified")
		}
	})
}
