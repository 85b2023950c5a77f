package features

import "fmt"

// Tier is a way to account bytes. A kernel runs the best one that it can; see
// docs/kernels.md for what each costs.
type Tier uint8

const (
	// TierInvalid is the zero value and never chosen.
	TierInvalid Tier = iota
	// TierAuto asks for the best tier that the kernel has.
	TierAuto
	// TierReference counts at tp_btf/sock_send_length and sock_recv_length:
	// every family and every way of moving bytes, in the context of the actor.
	TierReference
	// TierFexit counts at the exit of the kernel's send and receive functions;
	// for kernels before 6.3 that are not locked down.
	TierFexit
	// TierCounters reads TCP's own counters and takes everything else from the
	// packets that pass a cgroup; for kernels that have neither of the above.
	TierCounters
)

var tierNames = [...]string{
	TierInvalid:   "invalid",
	TierAuto:      "auto",
	TierReference: "reference",
	TierFexit:     "fexit",
	TierCounters:  "counters",
}

// String returns the name that ParseTier reads.
func (t Tier) String() string {
	if int(t) < len(tierNames) {
		return tierNames[t]
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}

// ParseTier reads a tier's name: auto, reference, fexit or counters.
func ParseTier(name string) (Tier, error) {
	for t := TierAuto; int(t) < len(tierNames); t++ {
		if tierNames[t] == name {
			return t, nil
		}
	}
	return TierInvalid, fmt.Errorf("tier %q is not one of auto, reference, fexit, counters", name)
}

// MarshalText writes the tier's name.
func (t Tier) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Tier) UnmarshalText(text []byte) error {
	parsed, err := ParseTier(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}
