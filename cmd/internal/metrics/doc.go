// Package metrics tells Prometheus what the daemon counts: on a unix socket or
// on loopback, and only when asked to. What `snitch status` knows is read when it
// is asked for; a Meter counts only what nothing else counts, decisions by action
// and rule.
//
// docs/metrics.md lists every metric; a test holds it, the dashboard and the
// alert rules against this package.
package metrics
