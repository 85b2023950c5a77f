package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"snitch/bpf/features"
)

// object reads the embedded object of a tier. All have the same maps and
// variables; what differs are the programs.
func object(tier features.Tier) (*ebpf.CollectionSpec, error) {
	switch tier {
	case features.TierReference:
		return loadSnitch()
	case features.TierFexit:
		return loadFexit()
	case features.TierCounters:
		return loadCounters()
	}
	return nil, fmt.Errorf("tier %s has no object", tier)
}
