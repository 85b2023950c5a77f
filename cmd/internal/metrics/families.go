package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/policy"
)

// families lists every metric.
func families() []family {
	return slices.Concat(daemonFamilies(), recordFamilies(), policyFamilies(), enforceFamilies(), fleetFamilies(), remoteFamilies())
}

func daemonFamilies() []family {
	return []family{
		{name: "up", help: "1 when the daemon answers.", kind: prometheus.GaugeValue, always: true,
			tell: func(x *exposition, f *family, to chan<- prometheus.Metric) { f.say(to, yes(x.up)) }},
		{name: "scrape_failures_total", help: "Scrapes that the daemon did not answer.", kind: prometheus.CounterValue, always: true,
			tell: func(x *exposition, f *family, to chan<- prometheus.Metric) { f.say(to, float64(x.failed)) }},
		labelled(prometheus.GaugeValue, "info", "1; what runs, as labels.", []string{"version", "tier", "mode"}, func(x *exposition, say func(float64, ...string)) {
			say(1, x.sample.Status.Version, x.sample.Status.Tier, x.sample.Status.Mode)
		}),
		gauge("start_time_seconds", "When the daemon started, Unix time.", func(s *control.Status) float64 { return float64(s.Started.UnixNano()) / 1e9 }),
		labelled(prometheus.GaugeValue, "memory_bytes", "Memory by process; pss shares out what several map.", []string{"process", "kind"}, func(x *exposition, say func(float64, ...string)) {
			m := &x.sample.Status.Memory
			say(float64(m.RSS), "core", "rss")
			say(float64(m.PSS), "core", "pss")
			say(float64(m.BrokerRSS), "broker", "rss")
			say(float64(m.BrokerPSS), "broker", "pss")
		}),
		flag("broker_alive", "1 when helpers can be started.", func(s *control.Status) bool { return s.Broker.Alive }),
		gauge("helpers", "Helper processes that run.", func(s *control.Status) int { return len(s.Broker.Helpers) }),
		counter("helper_starts_total", "Starts of helper processes.", func(s *control.Status) uint64 { return s.Broker.Starts }),
		counter("helper_failures_total", "Starts of helper processes that failed.", func(s *control.Status) uint64 { return s.Broker.Failed }),
		gauge("live_clients", "Readers of the live feed.", func(s *control.Status) int { return s.Live.Clients }),
		gauge("desktops", "Desktops that are notified.", func(s *control.Status) int { return s.Desktops.Desks }),
		counter("desktop_alerts_total", "Alerts to notify of.", func(s *control.Status) uint64 { return s.Desktops.Alerts }),
		counter("desktop_dropped_total", "Alerts of which desktops were told the number only.", func(s *control.Status) uint64 { return s.Desktops.Dropped }),
	}
}

func recordFamilies() []family {
	return []family{
		counter("connections_total", "Connections seen.", func(s *control.Status) uint64 { return s.Connections.Total }),
		gauge("connections_open", "Connections that are open.", func(s *control.Status) int { return s.Connections.Open }),
		counter("sent_bytes_total", "Application bytes sent.", func(s *control.Status) uint64 { return s.Connections.Sent }),
		counter("received_bytes_total", "Application bytes received.", func(s *control.Status) uint64 { return s.Connections.Received }),
		labelled(prometheus.CounterValue, "kernel_events_total", "Records of the kernel by kind.", []string{"kind"}, func(x *exposition, say func(float64, ...string)) {
			e := &x.sample.Status.Events
			say(float64(e.Execs), "exec")
			say(float64(e.Forks), "fork")
			say(float64(e.Exits), "exit")
			say(float64(e.Payloads), "payload")
			say(float64(e.Flows), "flow")
		}),
		losses("losses_total", "What was not recorded as it should have been, by cause.", func(l control.Loss) uint64 { return l.Count }),
		losses("lost_sent_bytes_total", "Sent bytes without a row of their own, by cause, where known.", func(l control.Loss) uint64 { return l.Sent }),
		losses("lost_received_bytes_total", "Received bytes without a row of their own, by cause, where known.", func(l control.Loss) uint64 { return l.Received }),
		gauge("processes", "Processes that are known.", func(s *control.Status) int { return s.Processes }),
		gauge("digests", "Digests of files in memory.", func(s *control.Status) int { return s.Digests.Entries }),
		gauge("digests_pending", "Files that are being hashed.", func(s *control.Status) int { return s.Digests.Pending }),
		counter("digest_hits_total", "Digests that were known already.", func(s *control.Status) uint64 { return s.Digests.Hits }),
		counter("digest_misses_total", "Digests that had to be computed.", func(s *control.Status) uint64 { return s.Digests.Misses }),
		counter("digest_read_bytes_total", "Bytes read for digests.", func(s *control.Status) uint64 { return s.Digests.Bytes }),
		gauge("names", "Addresses that have a name.", func(s *control.Status) int { return s.Names.Addresses }),
		counter("dns_answers_total", "DNS answers seen.", func(s *control.Status) uint64 { return s.Names.Answers }),
		counter("dns_believed_total", "DNS answers that were paired with their query.", func(s *control.Status) uint64 { return s.Names.Believed }),
		gauge("database_bytes", "Size of the database.", func(s *control.Status) uint64 { return s.Database.Bytes }),
		gauge("database_rows", "Connections in the database.", func(s *control.Status) uint64 { return s.Database.Rows }),
		gauge("database_pending_rows", "Rows that wait in memory for the database.", func(s *control.Status) uint64 { return s.Database.Pending }),
		counter("database_lost_rows_total", "Rows that the database never got.", func(s *control.Status) uint64 { return s.Database.Lost }),
		flag("database_failing", "1 when the last write of the database failed.", func(s *control.Status) bool { return s.Database.LastError != "" }),
		gauge("database_last_write_seconds", "When the database was written last, Unix time; 0: not yet.", func(s *control.Status) float64 {
			if s.Database.LastWrite.IsZero() {
				return 0
			}
			return float64(s.Database.LastWrite.UnixNano()) / 1e9
		}),
		{name: "database_commits_total", help: "Transactions of the database.", kind: prometheus.CounterValue,
			tell: func(x *exposition, f *family, to chan<- prometheus.Metric) { f.say(to, float64(x.sample.Commits)) }},
		{name: "database_commit_seconds_total", help: "Time that transactions of the database took.", kind: prometheus.CounterValue,
			tell: func(x *exposition, f *family, to chan<- prometheus.Metric) { f.say(to, x.sample.CommitTime.Seconds()) }},
	}
}

// losses has every cause: an alert on what never was cannot fire.
func losses(name, help string, of func(control.Loss) uint64) family {
	return labelled(prometheus.CounterValue, name, help, []string{"cause"}, func(x *exposition, say func(float64, ...string)) {
		for _, cause := range event.LossCauses() {
			say(float64(of(x.sample.Status.Losses[cause.String()])), cause.String())
		}
	})
}

func policyFamilies() []family {
	return []family{
		labelled(prometheus.CounterValue, "decisions_total", "Decisions by what the rules say and the rule that won; no rule: the default.", []string{"action", "rule"},
			func(x *exposition, say func(float64, ...string)) {
				for key, n := range x.decided {
					say(float64(n), key[0], key[1])
				}
			}),
		latency("decision_seconds", "Time of decisions that OPA made; the others came from the cache.", func(s *Sample) policy.Latency { return s.Decisions }),
		counter("decision_errors_total", "Decisions that fell back because OPA failed.", func(s *control.Status) uint64 { return s.Policy.Errors }),
		counter("decision_cache_hits_total", "Decisions from the cache of the present rules.", func(s *control.Status) uint64 { return s.Policy.CacheHits }),
		gauge("decision_cache_entries", "Decisions that the cache holds.", func(s *control.Status) int { return s.Policy.Cached }),
		gauge("undecided_rows", "Rows that wait for their decision.", func(s *control.Status) int { return s.Policy.Waiting }),
		counter("undecided_total", "Rows that nobody will decide any more.", func(s *control.Status) uint64 { return s.Policy.Undecided }),
		labelled(prometheus.GaugeValue, "rules_info", "1; which rules hold, as labels.", []string{"revision"}, func(x *exposition, say func(float64, ...string)) {
			say(1, x.sample.Status.Policy.Revision)
		}),
		gauge("rules", "Rules that hold.", func(s *control.Status) int { return s.Policy.Rules }),
		gauge("rules_loaded_seconds", "When they were loaded, Unix time.", func(s *control.Status) float64 { return float64(s.Policy.Loaded.UnixNano()) / 1e9 }),
		gauge("rules_load_seconds", "How long they took to compile.", func(s *control.Status) float64 { return s.Policy.LoadTime }),
		flag("rules_failing", "1 when the rules that are there do not load, and others are used.", func(s *control.Status) bool { return s.Policy.Error != "" }),
		gauge("custom_rules_degraded", "Packages of custom rules that do not answer.", func(s *control.Status) int { return len(s.Policy.Degraded) }),
	}
}

func enforceFamilies() []family {
	backend := within(func(s *control.Status) *control.EnforceBackend {
		if s.Enforce == nil {
			return nil
		}
		return s.Enforce.Backend
	})
	return []family{
		flag("enforcing", "1 when what the rules deny is denied.", func(s *control.Status) bool { return s.Mode == event.ModeEnforce.String() }),
		flag("enforce_armed", "1 while enforcement waits to be confirmed.", func(s *control.Status) bool { return s.Enforce != nil && s.Enforce.Armed }),
		flag("enforce_problem", "1 when enforcement is not as it should be.", func(s *control.Status) bool {
			return s.Enforce != nil && (s.Enforce.Problem != "" || s.Enforce.Backend != nil && s.Enforce.Backend.Problem != "")
		}),
		backend(prometheus.CounterValue, "denied_total", "Attempts that were denied.", func(b *control.EnforceBackend) float64 { return float64(b.Denied) }),
		backend(prometheus.CounterValue, "held_total", "Attempts that waited for their decision.", func(b *control.EnforceBackend) float64 { return float64(b.Held) }),
		backend(prometheus.CounterValue, "held_expired_total", "Attempts whose decision did not come in time.", func(b *control.EnforceBackend) float64 { return float64(b.Expired) }),
		backend(prometheus.GaugeValue, "held", "Attempts that wait now.", func(b *control.EnforceBackend) float64 { return float64(b.Waiting) }),
		backend(prometheus.CounterValue, "denials_lost_total", "Denied attempts that found no room in the record.", func(b *control.EnforceBackend) float64 { return float64(b.Lost) }),
		backend(prometheus.GaugeValue, "unheld_rules", "Rules that what denies cannot honour.", func(b *control.EnforceBackend) float64 { return float64(len(b.Unheld)) }),
	}
}

// fleetFamilies are 0 where rules come from the machine itself.
func fleetFamilies() []family {
	of := within(func(s *control.Status) *control.Fleet { return s.Fleet })
	return []family{
		flag("fleet_enabled", "1 when rules come from a bundle or a git remote.", func(s *control.Status) bool { return s.Fleet != nil }),
		labelled(prometheus.GaugeValue, "fleet_info", "1; the revision in use and the published one, as labels.", []string{"revision", "offered"}, func(x *exposition, say func(float64, ...string)) {
			if f := x.sample.Status.Fleet; f != nil {
				say(1, f.Revision, f.Offered)
			}
		}),
		flag("fleet_drift", "1 when this host does not use what is published.", func(s *control.Status) bool { return s.Fleet != nil && s.Fleet.Drift != "" }),
		of(prometheus.GaugeValue, "fleet_stage_percent", "Hosts of a hundred that shall use the published revision.", func(f *control.Fleet) float64 { return float64(f.Percent) }),
		flag("fleet_trial", "1 while a change is watched.", func(s *control.Status) bool { return s.Fleet != nil && !s.Fleet.TrialUntil.IsZero() }),
		of(prometheus.GaugeValue, "fleet_changed_seconds", "When the revision in use came, Unix time; 0: none came.", func(f *control.Fleet) float64 { return unix(f.Changed) }),
		of(prometheus.GaugeValue, "fleet_checked_seconds", "When the source last answered, Unix time; 0: not since the start.", func(f *control.Fleet) float64 { return unix(f.Checked) }),
		of(prometheus.CounterValue, "fleet_fetches_total", "Looks at the source.", func(f *control.Fleet) float64 { return float64(f.Looks) }),
		of(prometheus.CounterValue, "fleet_failures_total", "Looks at the source that failed.", func(f *control.Fleet) float64 { return float64(f.Failures) }),
		of(prometheus.CounterValue, "fleet_refused_total", "Looks that found what may not be used: a signature, a replay.", func(f *control.Fleet) float64 { return float64(f.Refused) }),
		of(prometheus.CounterValue, "fleet_returns_total", "Returns to the revision before.", func(f *control.Fleet) float64 { return float64(f.Returns) }),
	}
}

// within makes families of a part of the status, which are 0 where it is not there.
func within[T any](part func(*control.Status) *T) func(kind prometheus.ValueType, name, help string, value func(*T) float64) family {
	return func(kind prometheus.ValueType, name, help string, value func(*T) float64) family {
		return one(kind, name, help, func(s *control.Status) float64 {
			p := part(s)
			if p == nil {
				return 0
			}
			return value(p)
		})
	}
}

// unix is t in Unix time, 0 for none.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

// remoteFamilies are 0 where nothing goes to another host.
func remoteFamilies() []family {
	of := within(func(s *control.Status) *control.Remote { return s.Remote })
	return []family{
		flag("remote_enabled", "1 when the record also goes to another host.", func(s *control.Status) bool { return s.Remote != nil }),
		flag("remote_failing", "1 when the last attempt to send failed.", func(s *control.Status) bool { return s.Remote != nil && s.Remote.Problem != "" }),
		of(prometheus.CounterValue, "remote_rows_total", "Rows that arrived on the other host.", func(r *control.Remote) float64 { return float64(r.Rows) }),
		of(prometheus.CounterValue, "remote_parcels_total", "Transactions that arrived there.", func(r *control.Remote) float64 { return float64(r.Parcels) }),
		of(prometheus.CounterValue, "remote_repeated_total", "Transactions that had arrived before, and were not written again.", func(r *control.Remote) float64 { return float64(r.Repeated) }),
		of(prometheus.CounterValue, "remote_failures_total", "Attempts to send that failed.", func(r *control.Remote) float64 { return float64(r.Failed) }),
		of(prometheus.CounterValue, "remote_dropped_rows_total", "Rows that never left: more waited than may.", func(r *control.Remote) float64 { return float64(r.Dropped) }),
		of(prometheus.GaugeValue, "remote_waiting_rows", "Rows that wait on disk.", func(r *control.Remote) float64 { return float64(r.Waiting) }),
		of(prometheus.GaugeValue, "remote_waiting_bytes", "Bytes that wait on disk.", func(r *control.Remote) float64 { return float64(r.WaitingBytes) }),
		of(prometheus.GaugeValue, "remote_spool_bytes", "Most bytes that may wait.", func(r *control.Remote) float64 { return float64(r.Spool) }),
		of(prometheus.GaugeValue, "remote_behind_seconds", "Age of the oldest row that waits.", func(r *control.Remote) float64 { return r.Behind }),
	}
}
