package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"snitch/monitor/event"
)

// Verdict is the answer to /v1/reputation: what VirusTotal said of a file. Its
// field names are a contract.
type Verdict struct {
	Verdict    string    `json:"verdict"`   // "" while it is not asked about
	Malicious  uint32    `json:"malicious"` // engines that say so
	Suspicious uint32    `json:"suspicious"`
	Engines    uint32    `json:"engines"` // that looked
	At         time.Time `json:"at"`      // of the answer
}

// Reputation asks what VirusTotal said of a file.
func (c *Client) Reputation(ctx context.Context, sha event.Digest) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	body, err := c.ask(ctx, http.MethodGet, "/v1/reputation?sha256="+sha.String())
	if err != nil {
		return Verdict{}, err
	}
	defer body.Close()
	var v Verdict
	if err := json.NewDecoder(io.LimitReader(body, maxLine)).Decode(&v); err != nil {
		return Verdict{}, fmt.Errorf("read verdict: %w", err)
	}
	return v, nil
}

func (s *Server) reputation(w http.ResponseWriter, r *http.Request) {
	sha, err := event.ParseDigest(r.URL.Query().Get("sha256"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "sha256 is no SHA-256")
		return
	}
	if s.cfg.Reputation != nil {
		if v, ok := s.cfg.Reputation(sha); ok {
			answer(w, v)
			return
		}
	}
	refuse(w, http.StatusNotFound, "VirusTotal is not asked: the configuration has no key")
}
