package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	opa "github.com/open-policy-agent/opa/v1/bundle"
)

// newKey makes a pair of keys, as files.
func newKey(t testing.TB, kind string) (private, public []byte) {
	t.Helper()
	var key, open any
	var err error
	switch kind {
	case algorithmP256:
		k, e := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		key, open, err = k, k.Public(), e
	case "P-384":
		k, e := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		key, open, err = k, k.Public(), e
	case "RSA":
		k, e := rsa.GenerateKey(rand.Reader, 2048)
		key, open, err = k, k.Public(), e
	default:
		p, k, e := ed25519.GenerateKey(rand.Reader)
		key, open, err = k, p, e
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKIXPublicKey(open)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func readKeys(t testing.TB, text ...[]byte) Keys {
	t.Helper()
	keys, err := ReadKeys(bytes.Join(text, nil))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func example() *Snapshot {
	return &Snapshot{Files: []File{{"a/b.rego", []byte("package snitch.custom.x\n")}, {"base.yaml", []byte("version: 1\n")}, {"lists/bad.txt", []byte("example.org\n")}}}
}

func TestSealAndOpen(t *testing.T) {
	for _, kind := range []string{algorithmEd25519, algorithmP256} {
		t.Run(kind, func(t *testing.T) {
			private, public := newKey(t, kind)
			_, other := newKey(t, algorithmEd25519)
			r := Release{Revision: "v1.2", Serial: 7, Percent: 25, Seed: "x", Replaces: 9, Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
			packed, err := Seal(example(), r, private)
			if err != nil {
				t.Fatal(err)
			}
			s, got, err := Open("here", packed, readKeys(t, other, public))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, r); diff != "" {
				t.Errorf("release (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(s, &Snapshot{Source: "here", Revision: "v1.2", Files: example().Files}); diff != "" {
				t.Errorf("set (-got +want):\n%s", diff)
			}
			if _, _, err := Open("here", packed, readKeys(t, other)); !errors.Is(err, ErrSignature) {
				t.Errorf("another's key: %v", err)
			}
			// The bundle is one for OPA itself.
			keys := map[string]*opa.KeyConfig{"k": {Key: string(public), Algorithm: kind}}
			b, err := opa.NewReader(bytes.NewReader(packed)).WithBundleVerificationConfig(opa.NewVerificationConfig(keys, "k", "", nil)).Read()
			if err != nil || b.Manifest.Revision != "v1.2" || len(b.Modules) != 1 {
				t.Errorf("OPA reads revision %q, %d modules: %v", b.Manifest.Revision, len(b.Modules), err)
			}
		})
	}
}

// TestOpenOfOPA reads a bundle that OPA's own tools wrote and signed.
func TestOpenOfOPA(t *testing.T) {
	private, public := newKey(t, algorithmP256)
	b := opa.Bundle{Data: map[string]any{}, Manifest: opa.Manifest{Revision: "r1", Roots: &[]string{""}, Metadata: map[string]any{"snitch": map[string]any{"serial": 3}}},
		Modules: []opa.ModuleFile{{URL: "/x.rego", Path: "/x.rego", Raw: []byte("package snitch.custom.x\n")}}}
	if err := b.FormatModules(true); err != nil {
		t.Fatal(err)
	}
	if err := b.GenerateSignature(opa.NewSigningConfig(string(private), algorithmP256, ""), "k", true); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := opa.NewWriter(&out).DisableFormat(true).Write(b); err != nil {
		t.Fatal(err)
	}
	s, r, err := Open("", out.Bytes(), readKeys(t, public))
	if err != nil {
		t.Fatal(err)
	}
	if r.Serial != 3 || r.Percent != 100 || s.Revision != "r1" || len(s.Files) != 1 || s.Files[0].Path != "x.rego" {
		t.Fatalf("got %+v, %+v", r, s.Files)
	}
}

// archive packs entries as they are, without the care of writeArchive.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, h := range entries {
		text := h.PAXRecords["text"]
		h.PAXRecords = nil
		h.Size, h.Mode = int64(len(text)), 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, text string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"text": text}}
}

func TestArchiveRefuses(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	w := tar.NewWriter(zip)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: maxUnpacked + 1<<20, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range maxUnpacked>>20 + 1 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	var many []tar.Header
	for i := range MaxFiles + 1 {
		many = append(many, file(fmt.Sprint(i), ""))
	}
	good := archive(t, file("a.yaml", "x"))
	for name, packed := range map[string][]byte{
		"nothing":           nil,
		"no archive":        []byte("hello"),
		"parent":            archive(t, file("../a.yaml", "x")),
		"parent within":     archive(t, file("a/../../b.yaml", "x")),
		"absolute twice":    archive(t, file("//etc/passwd", "x")),
		"backslash":         archive(t, file(`a\b.yaml`, "x")),
		"line end":          archive(t, file("a\nb.yaml", "x")),
		"deep":              archive(t, file(strings.Repeat("a/", maxDepth+2)+"b", "x")),
		"symbolic link":     archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "a.yaml", Linkname: "/etc/passwd"}),
		"hard link":         archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "a.yaml", Linkname: "b.yaml"}),
		"device":            archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "a.yaml"}),
		"pipe":              archive(t, tar.Header{Typeflag: tar.TypeFifo, Name: "a.yaml"}),
		"twice":             archive(t, file("a.yaml", "x"), file("./a.yaml", "y")),
		"many":              archive(t, many...),
		"bomb":              bomb.Bytes(),
		"cut off":           good[:len(good)-4],
		"something follows": append(slices.Clone(good), good...),
	} {
		if files, err := readArchive(packed); err == nil {
			t.Errorf("%s: read %d files", name, len(files))
		}
	}
	if files, err := readArchive(good); err != nil || len(files) != 1 {
		t.Errorf("a good one: %d files, %v", len(files), err)
	}
}

// resign packs files with a signature of their own.
func resign(t testing.TB, private []byte, files ...File) []byte {
	t.Helper()
	key, err := readSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := sign(files, key)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := writeArchive(append(slices.Clone(files), File{signaturesName, signature}))
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

const manifest = `{"revision":"v1","roots":[""],"metadata":{"snitch":{"serial":5}}}`

func TestOpenRefuses(t *testing.T) {
	private, public := newKey(t, algorithmEd25519)
	keys := readKeys(t, public)
	rules := File{"a.yaml", []byte("version: 1\n")}
	good := resign(t, private, File{manifestName, []byte(manifest)}, rules)
	if _, _, err := Open("", good, keys); err != nil {
		t.Fatal(err)
	}
	files, err := readArchive(good)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(f []File) []File) []byte {
		packed, err := writeArchive(change(slices.Clone(files)))
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	withManifest := func(text string) []byte { return resign(t, private, File{manifestName, []byte(text)}, rules) }
	at := func(f []File, name string) int {
		return slices.IndexFunc(f, func(f File) bool { return f.Path == name })
	}
	for name, c := range map[string]struct {
		packed []byte
		want   string
	}{
		"no signature": {changed(func(f []File) []File { i := at(f, signaturesName); return slices.Delete(f, i, i+1) }), "no signature"},
		"changed file": {changed(func(f []File) []File {
			f[at(f, "a.yaml")].Data = []byte("version: 2\n")
			return f
		}), "digest mismatch"},
		"more":        {changed(func(f []File) []File { return append(f, File{"b.yaml", nil}) }), "not included"},
		"more hidden": {changed(func(f []File) []File { return append(f, File{".b", nil}) }), "not included"},
		"less":        {changed(func(f []File) []File { i := at(f, "a.yaml"); return slices.Delete(f, i, i+1) }), "signed and is not there"},
		"manifest": {changed(func(f []File) []File {
			f[at(f, manifestName)].Data = []byte(strings.Replace(manifest, "5", "6", 1))
			return f
		}), "digest mismatch"},
		"manifest twice": {changed(func(f []File) []File {
			f[at(f, manifestName)].Data = []byte(strings.Replace(manifest, `"metadata":`, `"metadata":{"snitch":{"serial":99}},"metadata":`, 1))
			return f
		}), ""},
		"plugin": {changed(func(f []File) []File {
			f[at(f, signaturesName)].Data = bytes.Replace(f[at(f, signaturesName)].Data, []byte("{"), []byte(`{"plugin":"mine",`), 1)
			f[at(f, "a.yaml")].Data = nil
			return f
		}), "digest mismatch"},
		"no manifest":    {resign(t, private, rules), "has no .manifest"},
		"not for snitch": {withManifest(`{"revision":"v1"}`), "not for snitch"},
		"no serial":      {withManifest(`{"metadata":{"snitch":{"percent":5}}}`), "serial is missing"},
		"unknown field":  {withManifest(`{"metadata":{"snitch":{"serial":5,"new":true}}}`), "unknown field"},
		"negative":       {withManifest(`{"metadata":{"snitch":{"serial":-5}}}`), "serial"},
		"percent":        {withManifest(`{"metadata":{"snitch":{"serial":5,"percent":101}}}`), "percent 101"},
		"revision":       {withManifest(`{"revision":"a\u001b[2Jb","metadata":{"snitch":{"serial":5}}}`), "revision"},
		"data":           {resign(t, private, File{manifestName, []byte(manifest)}, File{"x/data.yaml", []byte("a: 1")}), "document of OPA's"},
	} {
		s, r, err := Open("", c.packed, keys)
		switch {
		case name == "manifest twice": // what was signed is what it means: 5
			if err == nil && r.Serial != 5 {
				t.Errorf("%s: serial %d", name, r.Serial)
			}
		case err == nil:
			t.Errorf("%s: opened %d files", name, len(s.Files))
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestOpenRefusesTokens tries the usual tricks with the header of a token.
func TestOpenRefusesTokens(t *testing.T) {
	private, public := newKey(t, algorithmEd25519)
	packed, err := Seal(example(), Release{Serial: 1, Percent: 100}, private)
	if err != nil {
		t.Fatal(err)
	}
	files, err := readArchive(packed)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == signaturesName })
	var config opa.SignaturesConfig
	if err := json.Unmarshal(files[i].Data, &config); err != nil {
		t.Fatal(err)
	}
	part := strings.Split(config.Signatures[0], ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	shared, err := opa.GenerateSignedToken(nil, opa.NewSigningConfig(string(public), "HS256", ""), "x")
	if err != nil {
		t.Fatal(err)
	}
	for name, tokens := range map[string][]string{
		"none":         {none + "." + part[1] + "."},
		"none, signed": {none + "." + part[1] + "." + part[2]},
		"empty":        {part[0] + "." + part[1] + "."},
		"shared":       {shared},
		"two":          {config.Signatures[0], config.Signatures[0]},
		"nonsense":     {"a.b.c"},
		"no token":     {""},
	} {
		text, err := json.Marshal(opa.SignaturesConfig{Signatures: tokens})
		if err != nil {
			t.Fatal(err)
		}
		files[i].Data = text
		bad, err := writeArchive(files)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open("", bad, readKeys(t, public)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	private, public := newKey(t, algorithmEd25519)
	_, p384 := newKey(t, "P-384")
	_, rsaKey := newKey(t, "RSA")
	for name, text := range map[string][]byte{"nothing": nil, "text": []byte("secret"), "private": private, "P-384": p384, "RSA": rsaKey,
		"text behind": append(slices.Clone(public), "secret"...), "too many": bytes.Repeat(public, maxKeys+1)} {
		if keys, err := ReadKeys(text); err == nil {
			t.Errorf("%s: %d keys", name, len(keys))
		}
	}
}

func TestPositions(t *testing.T) {
	at := func(serial, replaces uint64) Position { return Release{Serial: serial, Replaces: replaces}.Position() }
	for _, c := range []struct {
		next, now Position
		want      bool
	}{
		{at(1, 0), Position{}, true},
		{at(7, 0), at(6, 0), true},
		{at(7, 0), at(7, 0), false},
		{at(6, 0), at(7, 0), false},
		{at(5, 7), at(7, 0), true},  // a return
		{at(5, 7), at(5, 7), false}, // once
		{at(4, 7), at(5, 7), false}, // and no other
		{at(7, 0), at(5, 7), false}, // nor what it returned from
		{at(6, 0), at(5, 7), false},
		{at(8, 0), at(5, 7), true},
		{at(5, 7), at(8, 0), false}, // the old return
		{at(5, 6), at(7, 0), false},
		{at(9, 2), at(7, 0), true}, // an ordinary release, whatever it says
		{at(9, 2), at(9, 0), false},
	} {
		if got := c.next.Follows(c.now); got != c.want {
			t.Errorf("%+v after %+v: %v", c.next, c.now, got)
		}
	}
}

func TestTakes(t *testing.T) {
	const hosts = 10_000
	last := map[string]bool{}
	for _, percent := range []int{0, 1, 10, 50, 99, 100} {
		takes := map[string]bool{}
		for i := range hosts {
			host := fmt.Sprint("host", i)
			if (Release{Percent: percent}).Takes(host) {
				takes[host] = true
			}
		}
		for host := range last {
			if !takes[host] {
				t.Fatalf("%s was one of fewer, and is none of %d %%", host, percent)
			}
		}
		if got, want := len(takes), hosts*percent/100; got < want*8/10-20 || got > want*12/10+20 {
			t.Errorf("%d %%: %d of %d hosts", percent, got, hosts)
		}
		last = takes
	}
	same := 0
	for i := range hosts {
		host := fmt.Sprint("host", i)
		if (Release{Percent: 50}).Takes(host) == (Release{Percent: 50, Seed: "b"}).Takes(host) {
			same++
		}
	}
	if same < hosts*4/10 || same > hosts*6/10 {
		t.Errorf("another seed chooses the same for %d of %d", same, hosts)
	}
}

// FuzzOpen: whatever comes, only what was signed comes out.
func FuzzOpen(f *testing.F) {
	private, public := newKey(f, algorithmEd25519)
	keys := readKeys(f, public)
	want := example()
	packed, err := Seal(want, Release{Serial: 1, Percent: 100}, private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(archive(f, file(manifestName, manifest), file(signaturesName, `{"signatures":["a.b.c"]}`)))
	f.Add(archive(f, file("a.yaml", "x"), tar.Header{Typeflag: tar.TypeSymlink, Name: "b", Linkname: "a.yaml"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, r, err := Open("", data, keys)
		if err == nil && (r.Serial != 1 || s.Digest() != want.Digest()) {
			t.Fatalf("opened what nobody signed: %+v", r)
		}
	})
}

// FuzzTar reads what is unpacked, without the compression that fuzzing cannot
// get past: every path is one within.
func FuzzTar(f *testing.F) {
	for _, packed := range [][]byte{archive(f, file("a.yaml", "x"), file("b/c.yaml", "y")), archive(f, tar.Header{Typeflag: tar.TypeDir, Name: "./a/"}, file("./a/b", ""))} {
		zip, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			f.Fatal(err)
		}
		var plain bytes.Buffer
		if _, err := plain.ReadFrom(zip); err != nil {
			f.Fatal(err)
		}
		f.Add(plain.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := readTar(tar.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		for _, file := range files {
			if validPath(file.Path) != nil || strings.HasPrefix(file.Path, "/") || strings.Contains("/"+file.Path+"/", "/../") {
				t.Fatalf("path %q", file.Path)
			}
		}
	})
}

// FuzzRelease: what is read is within its bounds.
func FuzzRelease(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte(`{"metadata":{"snitch":{"serial":5,"replaces":7,"percent":1,"seed":"a","expires":"2030-01-02T03:04:05Z"}}}`))
	f.Add([]byte("metadata: {snitch: {serial: 5}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readManifest(data)
		if err == nil && (r.Serial == 0 || r.Percent < 0 || r.Percent > 100 || r.Revision == "" || !plain(r.Revision)) {
			t.Fatalf("%+v", r)
		}
	})
}
