package main

import (
	"github.com/spf13/cobra"
)

const policyHelp = `Write, test and understand rules. Needs no root and no daemon: it runs in any CI.

Every matching rule votes and the strictest wins: deny, then alert, then allow. If
no rule matches, it is an alert. A program that you have confined is denied
everything that no allow rule grants it.

Rules are YAML files, and Rego files beside them, in a directory; files named
*_test.yaml and *_test.rego are their tests.`

// newPolicy is the parent of the commands about rules; alone it shows its help.
func newPolicy(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "policy",
		Short: "Write, test and understand rules",
		Long:  policyHelp,
		Example: `  snitch policy test rules/            run the tests beside the rules
  snitch policy check rules/           find rules that cannot be meant
  snitch policy explain --exe /usr/bin/curl --to tcp://example.org:443`,
	}, policyCommands(io)...)
}

// policyCommands are the children of `snitch policy`, one file each.
func policyCommands(io stdio) []*cobra.Command {
	return []*cobra.Command{newPolicyTest(io), newPolicyCheck(io), newPolicyFmt(io), newPolicyExplain(io),
		newPolicySchema(io), newPolicyExport(io), newPolicyImport(io), newPolicyReplay(io), newPolicyDiff(io), newPolicyLearn(io)}
}
