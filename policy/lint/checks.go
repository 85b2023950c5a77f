package lint

import "snitch/policy/report"

// Checks, by the names that reports and documentation use.
const (
	CheckDead          = "dead-rule"
	CheckExpired       = "expired"
	CheckRedundant     = "redundant"
	CheckShadowed      = "shadowed"
	CheckIdleExcept    = "idle-except"
	CheckUnconditional = "unconditional-allow"
	CheckAuditAllow    = "audit-allow"
	CheckNameScope     = "name-scope"
	CheckWideGlob      = "wide-glob"
	CheckConfine       = "confine-without-allow"
	CheckDuplicate     = "duplicate-item"
	CheckUnusedList    = "unused-list"
	CheckUserSpace     = "user-space"
	CheckReason        = "no-reason"
	CheckDoubtful      = "doubtful"
	CheckUnknownRule   = "unknown-rule"
	CheckUntested      = "untested"
)

// Catalogue describes the checks.
func Catalogue() []report.Check {
	return []report.Check{
		{ID: CheckDead, Short: "A rule, exception or confine entry that nothing can match"},
		{ID: CheckExpired, Short: "A rule that has expired"},
		{ID: CheckRedundant, Short: "A rule whose connections another rule with the same action matches"},
		{ID: CheckShadowed, Short: "A rule that a stricter rule always outvotes"},
		{ID: CheckIdleExcept, Short: "An exception that no connection of its rule meets"},
		{ID: CheckUnconditional, Short: "An allow rule without a condition, which satisfies every confinement"},
		{ID: CheckAuditAllow, Short: "An allow rule of mode audit, which never allows anything"},
		{ID: CheckNameScope, Short: "Names of hosts beside a scope that excludes the internet"},
		{ID: CheckWideGlob, Short: "A pattern that every program matches"},
		{ID: CheckConfine, Short: "A confined program that no rule allows anything"},
		{ID: CheckDuplicate, Short: "An item that another one of its list covers"},
		{ID: CheckUnusedList, Short: "A list that no rule names"},
		{ID: CheckUserSpace, Short: "A rule that the kernel's tables cannot decide alone"},
		{ID: CheckDoubtful, Short: "Something that the reader of the files wonders about"},
		{ID: CheckReason, Short: "A rule without a reason"},
		{ID: CheckUnknownRule, Short: "A test that expects a rule which does not exist"},
		{ID: CheckUntested, Short: "A rule that no test expects"},
	}
}
