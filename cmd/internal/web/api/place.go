package api

import (
	"fmt"
	"net/http"
	"net/netip"
)

// Places says where addresses are.
type Places interface {
	Place(a netip.Addr) Place
	Credits() []Credit
}

// Place is where an address is, as far as the tables say.
type Place struct {
	Scope   string `json:"scope,omitempty"` // why it is in no country: "private", "loopback", …
	Country string `json:"country,omitempty"`
	City    string `json:"city,omitempty"` // hostile text
	ASN     uint32 `json:"asn,omitempty"`
	Network string `json:"network,omitempty"` // hostile text
}

// Credit is what the licence of a table wants to be shown on every page.
type Credit struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

func (h *Handler) place(r *http.Request) (any, error) {
	a, err := netip.ParseAddr(r.URL.Query().Get("addr"))
	if err != nil {
		return nil, wrong(fmt.Errorf("addr: %q is no address", clip(r.URL.Query().Get("addr"))))
	}
	return h.cfg.Places.Place(a), nil
}

func (h *Handler) credits(*http.Request) (any, error) { return nonNil(h.cfg.Places.Credits()), nil }
