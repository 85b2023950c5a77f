package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"snitch/bpf"
	"snitch/bpf/features"
	"snitch/cmd/internal/text"
	"snitch/enforce/nft"
)

// DoctorEnforce is what this host can deny with.
type DoctorEnforce struct {
	Backend string `json:"backend"` // that enforce.backend: auto is here
	// Cgroup and Nft say why a backend does not work; "" when it does.
	Cgroup string `json:"cgroup_problem,omitempty"`
	Nft    string `json:"nft_problem,omitempty"`
	// Pins is where denials outlive the daemon; "": nowhere.
	Pins        string `json:"pins"`
	PinsProblem string `json:"pins_problem,omitempty"`
	// Packet is what becomes of packet sockets that rules do not want.
	Packet string `json:"packet_sockets"`
}

// diagnoseEnforce loads what denies, and attaches nothing.
func diagnoseEnforce(ctx context.Context, r features.Report) *DoctorEnforce {
	d := &DoctorEnforce{Backend: chooseBackend(ctx, backendAuto), Packet: "AF_PACKET and AF_XDP are seen and alerted, not denied (no BPF LSM: add bpf to lsm= of the kernel's command line)"}
	if d.Backend == backendCgroup && r.Has(features.LSM) {
		d.Packet = "AF_PACKET, AF_XDP and vsock sockets that rules deny are not made (BPF LSM)"
	}
	if v, err := bpf.LoadVerdicts(bpf.VerdictConfig{}); err != nil {
		d.Cgroup = err.Error()
	} else if err := v.Close(false); err != nil {
		d.Cgroup = err.Error()
	}
	if err := nft.Remove(nft.Config{Table: nft.Name("")}); err != nil { // nobody's: it only asks
		d.Nft = err.Error()
	}
	if !r.Has(features.NftCgroup) && d.Nft == "" {
		d.Nft = "rules that name cgroups are refused: the kernel has no nft socket cgroupv2"
	}
	d.Pins = bpffs
	if has, err := hasBPFFS(); err != nil {
		d.Pins, d.PinsProblem = "", err.Error()
	} else if !has {
		d.PinsProblem = "not mounted: snitch mounts it when it begins to deny"
	}
	return d
}

func (d *DoctorEnforce) write(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	works := func(problem string) string {
		if problem == "" {
			return "works"
		}
		return text.Clean(problem)
	}
	fmt.Fprintf(w, "  backend\t%s (enforce.backend: auto)\n", d.Backend)
	fmt.Fprintf(w, "  cgroup programs\t%s\n  nftables\t%s\n", works(d.Cgroup), works(d.Nft))
	where := "what enforce.fail says, by pins in " + d.Pins
	if d.Pins == "" {
		where = "cgroup programs need somewhere to be pinned"
	}
	if d.PinsProblem != "" {
		where += " (" + text.Clean(d.PinsProblem) + ")"
	}
	fmt.Fprintf(w, "  without snitch\t%s\n", where)
	fmt.Fprintf(w, "  packet sockets\t%s\n", d.Packet)
	_ = w.Flush() // a strings.Builder takes everything
}
