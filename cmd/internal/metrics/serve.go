package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Bounds of the server: any local user may connect to loopback.
const (
	maxConns      = 16
	readWithin    = 5 * time.Second
	writeWithin   = 15 * time.Second
	maxHeader     = 8 << 10
	idleFor       = time.Minute
	oneScrape     = 2 // at a time
	shutdownAfter = 2 * time.Second
)

// Serve answers GET /metrics until ctx ends. It closes l.
func (m *Meter) Serve(ctx context.Context, l net.Listener) error {
	handler, err := m.Handler()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: readWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin,
		IdleTimeout: idleFor, MaxHeaderBytes: maxHeader}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownAfter)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close() // a scrape that does not end
		}
	})
	err = server.Serve(netutil.LimitListener(l, maxConns))
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}

// Handler answers GET /metrics and nothing else.
func (m *Meter) Handler() (http.Handler, error) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: oneScrape, DisableCompression: true}))
	return local(mux), nil
}

// local refuses what a page in somebody's browser asks under a name that was
// made to lead here.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		addr, err := netip.ParseAddr(host)
		if host != "localhost" && host != "" && (err != nil || !addr.IsLoopback()) {
			http.Error(w, "this is read under an address of loopback only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
