package main

import (
	"context"
	"path/filepath"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/policy/reputation"
	"snitch/policy/rule"
)

// verdictsBeside are the answers of VirusTotal that lie beside a database: rows do
// not keep them. Of a copy without them, or for a caller who may not read them,
// nothing is known, which is a fact that no rule matches.
func verdictsBeside(database string) func(event.Digest) event.Reputation {
	answers, err := reputation.Load(filepath.Join(filepath.Dir(database), verdictsFile))
	if err != nil || len(answers) == 0 {
		return nil
	}
	return func(sha event.Digest) event.Reputation { return answers[sha].Verdict }
}

// judged fills in what is said of the programs of f; a nil said knows nothing.
func judged(f *rule.Facts, said func(event.Digest) event.Reputation) {
	if said == nil {
		return
	}
	fill := func(s *rule.Subject) {
		if !s.SHA256.IsZero() {
			s.Reputation = said(s.SHA256)
		}
	}
	fill(&f.Process)
	for i := range f.Ancestors {
		fill(&f.Ancestors[i])
	}
}

// saidByDaemon asks a daemon once for each file, and no more once it has no answer
// to give: it is away, or asks nobody itself.
func saidByDaemon(ctx context.Context, daemon *control.Client) func(event.Digest) event.Reputation {
	known, away := map[event.Digest]event.Reputation{}, false
	return func(sha event.Digest) event.Reputation {
		said, ok := known[sha]
		if ok || away {
			return said
		}
		v, err := daemon.Reputation(ctx, sha)
		if away = err != nil; !away && said.UnmarshalText([]byte(v.Verdict)) == nil {
			known[sha] = said
		}
		return said
	}
}
