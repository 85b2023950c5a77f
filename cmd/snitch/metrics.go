package main

import (
	"context"
	"fmt"
	"net"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/metrics"
)

// metricsSocket is the name of the socket inside the state directory.
const metricsSocket = "metrics.sock"

// openMetrics opens where Prometheus reads, unless that is off.
func (d *daemon) openMetrics(ctx context.Context) (err error) {
	d.meter = metrics.New(d.sample)
	switch listen := d.cfg.Metrics.Listen; listen {
	case "off":
		return nil
	case config.MetricsSocket:
		d.metricsListener, err = control.ListenAs(d.state.path, metricsSocket, control.Access{Group: d.state.gid})
		d.closers = append(d.closers, func() error { return control.RemoveAs(d.state.path, metricsSocket) })
	default:
		d.metricsListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	}
	if err != nil {
		return fmt.Errorf("open metrics: %w", err)
	}
	return nil
}

// sample is called by the goroutines of the metrics' server.
func (d *daemon) sample(ctx context.Context) (metrics.Sample, error) {
	st, err := d.status(ctx)
	if err != nil {
		return metrics.Sample{}, err
	}
	s := d.store.Stats()
	return metrics.Sample{Status: st, Commits: s.Batches, CommitTime: s.Spent, Decisions: d.engine.Stats().Latency}, nil
}
