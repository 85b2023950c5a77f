// Package rules holds the rule sets that snitch ships. They are written for
// people to read, to copy into their own directory and to change; the tests
// beside them are part of what is shipped.
//
//   - audit.yaml is what the daemon uses when there are no rules: it alerts
//     about what is new or suspicious and lets the rest pass in silence.
//   - kernel.yaml, desktop.yaml, server.yaml and ci-runner.yaml are to be
//     copied: see docs/rule-sets.md.
package rules

import (
	"embed"
	"io/fs"
)

// Default is the file that is used when there are no rules.
const Default = "audit.yaml"

//go:embed *.yaml
var files embed.FS

// Files are the shipped sets and their tests.
func Files() fs.FS { return files }
