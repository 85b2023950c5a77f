package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"snitch/cmd/internal/text"
)

// Doctor is the answer to /v1/doctor: what the kernel could do when the daemon
// started, and what was chosen. Its field names are a contract.
type Doctor struct {
	Tier         string      `json:"tier"` // that runs
	WhyNotBetter []string    `json:"why_not_better"`
	Mechanisms   []Mechanism `json:"mechanisms"`
	Kernel       string      `json:"kernel"`    // release
	Machine      string      `json:"machine"`   // architecture
	Lockdown     string      `json:"lockdown"`  // none, integrity, confidentiality or unknown
	Cgroup2      string      `json:"cgroup2"`   // where cgroup v2 is mounted, "" nowhere
	Hybrid       bool        `json:"hybrid"`    // cgroup v1 is mounted beside it
	NetClass     string      `json:"net_class"` // why per-cgroup matching of sockets is off, "" when it is not
	Features     []Feature   `json:"features"`
}

// Feature is one thing that a kernel may be able to do.
type Feature struct {
	Name        string `json:"name"`
	Answer      string `json:"answer"` // yes, no or unknown
	Reason      string `json:"reason"`
	Consequence string `json:"consequence"` // of not having it
}

// Doctor asks what the kernel can do.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var d Doctor
	body, err := c.ask(ctx, http.MethodGet, "/v1/doctor")
	if err != nil {
		return d, err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxLine)).Decode(&d); err != nil {
		return Doctor{}, fmt.Errorf("read what the kernel can do: %w", err)
	}
	return d, nil
}

func (s *Server) doctor(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Doctor == nil {
		refuse(w, http.StatusNotFound, "this daemon does not tell what the kernel can do")
		return
	}
	answer(w, s.cfg.Doctor())
}

// answer writes one JSON object.
func answer(w http.ResponseWriter, v any) {
	line, err := text.JSON(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(line, '\n')) // the peer left
}
