package bundle

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	opa "github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// sign makes the file of signatures, as OPA does.
func sign(files []File, key signer) ([]byte, error) {
	hasher, err := opa.NewSignatureHasher(opa.SHA256)
	if err != nil {
		return nil, err
	}
	infos := make([]opa.FileInfo, 0, len(files))
	for _, f := range files {
		var value any = f.Data
		if opa.IsStructuredDoc(f.Path) {
			if err := util.Unmarshal(f.Data, &value); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
		}
		sum, err := hasher.HashFile(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		infos = append(infos, opa.NewFile(f.Path, hex.EncodeToString(sum), string(opa.SHA256)))
	}
	token, err := opa.GenerateSignedToken(infos, opa.NewSigningConfig(key.pem, key.algorithm, ""), key.id)
	if err != nil {
		return nil, err
	}
	return json.Marshal(opa.SignaturesConfig{Signatures: []string{token}})
}
