package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"snitch/cmd/internal/text"
)

// enforceWithin bounds a change of enforcement: rules are compiled for it, and
// the kernel's tables filled.
const enforceWithin = 90 * time.Second

// Errors of changing enforcement.
var (
	// ErrNotRoot says that the group may ask, and only root may change this.
	ErrNotRoot = errors.New("the daemon refused: only root may change enforcement")
	// ErrNoEnforcement says that this daemon cannot deny.
	ErrNoEnforcement = errors.New("this daemon cannot enforce")
	// ErrRefused says that the daemon could, and gave a reason why not.
	ErrRefused = errors.New("the daemon refused")
)

// Words of an EnforceOrder.
const (
	EnforceOn      = "on"
	EnforceOff     = "off"
	EnforceConfirm = "confirm"
	EnforcePanic   = "panic"
)

// EnforceOrder is what a client wants of enforcement.
type EnforceOrder struct {
	Do      string        // one of the words
	Confirm time.Duration // of on: by when somebody must confirm; 0: it stays
	Force   bool          // of on
	PID     int           // of who asks, filled by the server
	UID     uint32
}

// Enforce is the state of enforcement; its field names are a contract.
type Enforce struct {
	Mode       string          `json:"mode"`
	Source     string          `json:"source"` // where the mode comes from
	Since      time.Time       `json:"since,omitzero"`
	By         string          `json:"by,omitempty"`
	Armed      bool            `json:"armed"` // rolled back at Deadline unless confirmed
	Deadline   time.Time       `json:"deadline,omitzero"`
	Left       float64         `json:"left,omitempty"` // seconds to confirm
	Fail       string          `json:"fail"`           // configured: auto, open, closed
	FailClosed bool            `json:"fail_closed"`    // what it means now
	HoldFor    float64         `json:"hold_for"`       // seconds
	HoldThen   string          `json:"hold_then"`
	ProtectSSH bool            `json:"protect_ssh"`
	Protected  []ProtectedRule `json:"protected"`
	Beats      uint64          `json:"heartbeats"`
	Problem    string          `json:"problem,omitempty"`
	Backend    *EnforceBackend `json:"backend"` // null: this daemon has none
}

// ProtectedRule is a rule that snitch added so that nobody is locked out.
type ProtectedRule struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// EnforceBackend is what denies.
type EnforceBackend struct {
	Name       string       `json:"name"`
	Mode       string       `json:"mode"` // that the kernel has
	Generation uint64       `json:"generation"`
	Revision   string       `json:"revision"`
	FailClosed bool         `json:"fail_closed"`
	Hooks      []string     `json:"hooks"`
	Hold       string       `json:"hold"`
	Classes    int          `json:"classes"`
	Entries    int          `json:"entries"`
	Denied     uint64       `json:"denied"`
	Held       uint64       `json:"held"`
	Expired    uint64       `json:"expired"`
	Waiting    int          `json:"waiting"`
	Lost       uint64       `json:"lost"`
	Unheld     []UnheldRule `json:"unheld"` // rules that it cannot honour
	Problem    string       `json:"problem,omitempty"`
}

// UnheldRule is a rule that a backend cannot honour, and why.
type UnheldRule struct {
	Rule   string `json:"rule"`
	Pos    string `json:"position"`
	Reason string `json:"reason"`
}

// Enforce changes enforcement, and returns its state then.
func (c *Client) Enforce(ctx context.Context, o EnforceOrder) (Enforce, error) {
	ctx, cancel := context.WithTimeout(ctx, enforceWithin)
	defer cancel()
	v := url.Values{"do": {o.Do}}
	if o.Confirm != 0 {
		v.Set("confirm", o.Confirm.String())
	}
	if o.Force {
		v.Set("force", "true")
	}
	body, err := c.patient().ask(ctx, http.MethodPost, "/v1/enforce?"+v.Encode())
	if err != nil {
		return Enforce{}, err
	}
	defer body.Close()
	var e Enforce
	if err := json.NewDecoder(io.LimitReader(body, maxLine)).Decode(&e); err != nil {
		return Enforce{}, fmt.Errorf("read state of enforcement: %w", err)
	}
	return e, nil
}

// patient is c for answers that take long.
func (c *Client) patient() *Client {
	own := *c.http
	if t, ok := own.Transport.(*http.Transport); ok {
		t = t.Clone()
		t.ResponseHeaderTimeout, t.DisableKeepAlives = enforceWithin, true
		own.Transport = t
	}
	return &Client{http: &own}
}

// enforce changes enforcement. Members of the group may look, root alone may
// change: who is denied nothing may do what rules forbid.
func (s *Server) enforce(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(peerKey{}).(peer) // guard has seen it
	o, err := parseOrder(r.URL.Query())
	switch {
	case p.uid != 0:
		s.cfg.Log.Warn("enforcement may be changed by root only", "component", "control", "pid", p.pid, "uid", p.uid)
		refuse(w, http.StatusUnauthorized, "only root may change enforcement")
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
		return
	case s.cfg.Enforce == nil:
		refuse(w, http.StatusNotImplemented, "this build has no enforcement yet")
		return
	}
	o.PID, o.UID = int(p.pid), p.uid
	deadline := time.Now().Add(enforceWithin)
	answer := http.NewResponseController(w)
	if err := errors.Join(answer.SetReadDeadline(deadline), answer.SetWriteDeadline(deadline)); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	// A client that leaves does not leave a change half made.
	e, err := s.cfg.Enforce(context.WithoutCancel(r.Context()), o)
	switch {
	case errors.Is(err, ErrNoEnforcement):
		refuse(w, http.StatusNotImplemented, err.Error())
		return
	case err != nil:
		refuse(w, http.StatusConflict, err.Error())
		return
	}
	line, err := text.JSON(e)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(line, '\n')) // the peer left
}

func parseOrder(v url.Values) (o EnforceOrder, err error) {
	o.Do = v.Get("do")
	switch o.Do {
	case EnforceOn, EnforceOff, EnforceConfirm, EnforcePanic:
	default:
		return o, fmt.Errorf("%q is nothing to do", o.Do)
	}
	if s := v.Get("confirm"); s != "" {
		if o.Confirm, err = time.ParseDuration(s); err != nil || o.Confirm <= 0 {
			return o, fmt.Errorf("%q is no time to confirm", s)
		}
	}
	if s := v.Get("force"); s != "" {
		if o.Force, err = strconv.ParseBool(s); err != nil {
			return o, fmt.Errorf("force: %q is neither true nor false", s)
		}
	}
	return o, nil
}

// enforceError names the error of an answer, nil for others.
func enforceError(code int, message string) error {
	switch code {
	case http.StatusUnauthorized:
		return ErrNotRoot
	case http.StatusNotImplemented:
		return fmt.Errorf("%w: %s", ErrNoEnforcement, message)
	case http.StatusConflict:
		return fmt.Errorf("%w: %s", ErrRefused, message)
	}
	return nil
}
