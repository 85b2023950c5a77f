package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"snitch/monitor/event"
)

// maxAlerts bounds the alerts of one request, which stand in its address.
const maxAlerts = 128

// Reload asks the daemon to read its rules again. The error says why they do
// not load; those in use stay then.
func (c *Client) Reload(ctx context.Context) error { return c.post(ctx, "/v1/reload") }

// SetAlerts sets the state of alerts, at most maxAlerts with one request.
func (c *Client) SetAlerts(ctx context.Context, ids []int64, state event.AlertState) error {
	for len(ids) > 0 {
		n := min(len(ids), maxAlerts)
		v := url.Values{"state": {state.String()}}
		for _, id := range ids[:n] {
			v.Add("id", strconv.FormatInt(id, 10))
		}
		if err := c.post(ctx, "/v1/alerts?"+v.Encode()); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (c *Client) post(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	body, err := c.ask(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(body, maxLine))
	if closed := body.Close(); err == nil {
		err = closed
	}
	return err
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	if err := s.cfg.Reload(); err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) alerts(w http.ResponseWriter, r *http.Request) {
	ids, state, err := alertChange(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := s.cfg.SetAlerts(r.Context(), ids, state); err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func alertChange(v url.Values) (ids []int64, state event.AlertState, err error) {
	state, ok := event.ParseAlertState(v.Get("state"))
	if !ok {
		return nil, state, fmt.Errorf("%q is no state of an alert", v.Get("state"))
	}
	if n := len(v["id"]); n == 0 || n > maxAlerts {
		return nil, state, fmt.Errorf("%d alerts, want 1 to %d", n, maxAlerts)
	}
	for _, text := range v["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 {
			return nil, state, fmt.Errorf("%q is no number of an alert", text)
		}
		ids = append(ids, id)
	}
	return ids, state, nil
}
