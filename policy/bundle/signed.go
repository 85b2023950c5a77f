package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	opa "github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Files of an OPA bundle that are no rules.
const (
	manifestName   = opa.ManifestExt
	signaturesName = ".signatures.json"
	dataName       = "data.json"
)

// metadataKey is where in the manifest's metadata the Release stands.
const metadataKey = "snitch"

// ErrSignature says that no key signed the set as it is.
var ErrSignature = errors.New("no key that may publish signed it")

// Open reads a signed OPA bundle: a compressed tar archive with a manifest, in
// which metadata.snitch is a Release with a serial, and a signature over every
// file by one of the keys. Whether the release may follow the one in use is for
// the caller to say.
func Open(source string, packed []byte, keys Keys) (*Snapshot, Release, error) {
	files, err := readArchive(packed)
	if err != nil {
		return nil, Release{}, fmt.Errorf("read bundle: %w", err)
	}
	if files, err = verify(files, keys); err != nil {
		return nil, Release{}, fmt.Errorf("verify bundle: %w", err)
	}
	s := &Snapshot{Source: source}
	var release *Release
	for _, f := range files {
		base := path.Base(f.Path)
		switch {
		case f.Path == manifestName:
			r, err := readManifest(f.Data)
			if err != nil {
				return nil, Release{}, fmt.Errorf("read bundle: %w", err)
			}
			release = &r
		case f.Path == dataName && string(bytes.TrimSpace(f.Data)) == "{}":
			// OPA's tools put an empty one into every bundle.
		case opa.IsStructuredDoc(f.Path):
			return nil, Release{}, fmt.Errorf("read bundle: %s is a document of OPA's and no file of rules: give it another name", f.Path)
		case Ignored(base):
		default:
			s.Files = append(s.Files, f)
		}
	}
	if release == nil {
		return nil, Release{}, fmt.Errorf("read bundle: it has no %s", manifestName)
	}
	s.Revision = release.Revision
	return s, *release, nil
}

// verify holds the files against the signature and returns them without it.
func verify(files []File, keys Keys) ([]File, error) {
	var config opa.SignaturesConfig
	rest := make([]File, 0, len(files))
	for _, f := range files {
		if f.Path != signaturesName {
			rest = append(rest, f)
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(f.Data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&config); err != nil {
			return nil, fmt.Errorf("%s: %w", signaturesName, err)
		}
	}
	if len(config.Signatures) == 0 {
		return nil, fmt.Errorf("it has no signature: %w", ErrSignature)
	}
	config.Plugin = "" // there is one way to verify, whatever the bundle wants
	signed, err := signedFiles(config, keys)
	if err != nil {
		return nil, err
	}
	for _, f := range rest {
		if a := opa.HashingAlgorithm(signed[f.Path].Algorithm); signed[f.Path].Name != "" && a != opa.SHA256 && a != opa.SHA384 && a != opa.SHA512 {
			return nil, fmt.Errorf("%s: hashed with %.20q: %w", f.Path, a, ErrSignature)
		}
		if err := opa.VerifyBundleFile(f.Path, *bytes.NewBuffer(f.Data), signed); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSignature, err)
		}
	}
	for name := range signed {
		return nil, fmt.Errorf("%.200q was signed and is not there: %w", name, ErrSignature)
	}
	return rest, nil
}

// signedFiles are what one of the keys signed. Which, the bundle may not say: all
// are tried.
func signedFiles(config opa.SignaturesConfig, keys Keys) (map[string]opa.FileInfo, error) {
	var last error
	for _, k := range keys {
		public := map[string]*opa.KeyConfig{k.ID: {Key: k.pem, Algorithm: k.Algorithm}}
		files, err := opa.VerifyBundleSignature(config, opa.NewVerificationConfig(public, k.ID, "", nil))
		if err == nil {
			return files, nil
		}
		last = err
	}
	return nil, fmt.Errorf("%w: %w", ErrSignature, last)
}

// readManifest takes the release from a manifest that was verified. What was
// signed is what the document means after decoding, so that is what is read: by
// the same decoder, and without the letter case and merging of struct decoding.
func readManifest(data []byte) (Release, error) {
	var manifest map[string]any
	if err := util.Unmarshal(data, &manifest); err != nil {
		return Release{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	metadata, _ := manifest["metadata"].(map[string]any)
	object, ok := metadata[metadataKey].(map[string]any)
	if !ok {
		return Release{}, fmt.Errorf("%s: metadata.%s is missing: the bundle is not for snitch", manifestName, metadataKey)
	}
	text, err := json.Marshal(object)
	if err != nil {
		return Release{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	r, err := ReadRelease(text)
	if err != nil {
		return Release{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	if r.Serial == 0 {
		return Release{}, fmt.Errorf("%s: metadata.%s.serial is missing: without it old rules could be played back", manifestName, metadataKey)
	}
	r.Revision, _ = manifest["revision"].(string)
	if r.Revision = strings.TrimSpace(r.Revision); r.Revision == "" {
		r.Revision = fmt.Sprint(r.Serial)
	}
	return r, r.check()
}

// Seal makes a bundle of the files of s and signs it with a private key (PEM).
func Seal(s *Snapshot, r Release, private []byte) ([]byte, error) {
	if r.Revision == "" {
		r.Revision = s.Revision
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Serial == 0 {
		return nil, errors.New("release: a serial is needed, larger than that of the bundle before")
	}
	key, err := readSigner(private)
	if err != nil {
		return nil, err
	}
	manifest, err := json.MarshalIndent(map[string]any{"revision": r.Revision, "roots": []string{""}, "rego_version": 1, "metadata": map[string]any{metadataKey: r}}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("seal bundle: %w", err)
	}
	files := []File{{Path: manifestName, Data: manifest}}
	for _, f := range s.Files {
		if opa.IsStructuredDoc(f.Path) || f.Path == signaturesName {
			return nil, fmt.Errorf("seal bundle: %s is a name of OPA's: give the file another", f.Path)
		}
		files = append(files, f)
	}
	signature, err := sign(files, key)
	if err != nil {
		return nil, fmt.Errorf("seal bundle: %w", err)
	}
	return writeArchive(append(files, File{Path: signaturesName, Data: signature}))
}
