package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/fleet"
	"snitch/monitor/dns"
	"snitch/monitor/export"
	"snitch/monitor/export/remote"
	"snitch/monitor/notify"
	"snitch/policy/rego/custom"
	"snitch/policy/reputation"
)

// Words with which this binary starts itself. They are no commands of a
// person's: no help names them, and they refuse to run otherwise.
const (
	wordBroker = "broker"
	wordHelper = "broker-helper"
)

// runHidden does the work of the broker and of helpers, before anything of the
// command line is built: their memory matters.
func runHidden(args []string, stderr io.Writer) (code int, done bool) {
	if len(args) == 0 {
		return 0, false
	}
	var err error
	switch args[0] {
	case wordBroker:
		err = broker.Serve(args[1:], []string{wordHelper})
	case wordHelper:
		err = broker.RunHelper(context.Background(), args[1:], map[broker.Kind]broker.Work{
			broker.ReverseDNS: dns.ReverseHelper, broker.Notify: notify.Helper, broker.CustomRules: custom.Work,
			broker.RemoteSQL: remote.Work, broker.Syslog: export.SyslogHelper, broker.Reputation: reputation.Helper,
			broker.FetchBundle: fleet.Work, broker.FetchGit: fleet.Work, broker.VerifyPGP: fleet.Work})
	case wordRemoteCheck:
		return runRemoteCheckChild(os.Stdin, os.Stdout, stderr), true
	case wordFetch:
		return runFetch(args[1:], os.Stdout, stderr), true
	default:
		return 0, false
	}
	if err == nil {
		return exitDone, true
	}
	if !errors.Is(err, context.Canceled) {
		show(stderr, fmt.Sprintf("%s: %v", args[0], err), "")
	}
	return exitUsage, true
}
