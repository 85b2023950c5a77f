package features

import (
	"fmt"
	"time"
)

// Report is what Detect found out. It is a value; nobody changes it later.
type Report struct {
	Host
	Results []Result      `json:"features"` // in the order of All
	Took    time.Duration `json:"took_ns"`
}

// Get returns the result for one feature; unknown when it was not asked.
func (r Report) Get(f Feature) Result {
	for _, result := range r.Results {
		if result.Feature == f {
			return result
		}
	}
	return Result{Feature: f, Reason: "not probed"}
}

// Has reports whether the kernel surely has the feature.
func (r Report) Has(f Feature) bool { return r.Get(f).Answer == Yes }

// common is what every tier needs: identity, owners and a way out.
var common = []Feature{
	BTF, KernelRead, RingBuffer, MapInMap, ExecTracepoint, ForkTracepoint, ExitTracepoint,
	CgroupConnect, CgroupSendmsg, CgroupRecvmsg, CgroupCreate, CgroupEgress, CgroupIngress,
}

// tiers lists the tiers from the best, with what each needs.
var tiers = []struct {
	tier  Tier
	needs []Feature
}{
	{TierReference, []Feature{StateTracepoint, TracingStorage, RecvTCP, SendTracepoint, RecvTracepoint}},
	{TierFexit, []Feature{StateTracepoint, TracingStorage, RecvTCP, FexitSend, FexitRecv}},
	{TierCounters, []Feature{CgroupRelease, SockOps}},
}

// Tier returns the best tier that this kernel runs, and for each better one why
// it does not. TierInvalid means that it runs none.
func (r Report) Tier() (best Tier, whyNotBetter []string) {
	for _, t := range tiers {
		why, ok := r.lacks(t.needs)
		if ok {
			return t.tier, whyNotBetter
		}
		whyNotBetter = append(whyNotBetter, fmt.Sprintf("%s: %s", t.tier, why))
	}
	return TierInvalid, whyNotBetter
}

// Runs reports whether this kernel runs a tier, and if not, what it lacks.
func (r Report) Runs(tier Tier) (ok bool, why string) {
	for _, t := range tiers {
		if t.tier == tier {
			why, ok = r.lacks(t.needs)
			return ok, why
		}
	}
	return false, fmt.Sprintf("%s is not a tier that runs", tier)
}

// lacks returns the first feature that is missing.
func (r Report) lacks(needs []Feature) (why string, none bool) {
	for _, list := range [][]Feature{common, needs} {
		for _, f := range list {
			if result := r.Get(f); result.Answer != Yes {
				return result.String(), false
			}
		}
	}
	return "", true
}
