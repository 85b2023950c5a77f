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
	// Pins is where denials outlive the daemon; "" with PinsProblem: nowhere.
	Pins        string `json:"pins"`
	PinsProblem string `json:"pins_problem,omitempty"`
	// Packet is what becomes of packet sockets that rules do not want.
	Packet string `json:"packet_sockets"`
}

// diagnoseEnforce loads what denies, and attaches nothing.
func diagnoseEnforce(ctx context.Context, r features.Report) *DoctorEnforce {
	d := &DoctorEnforce{Backend: chooseBackend(ctx, backendAuto), Packet: "AF_PACKET and AF_XDP are seen and alerted, not denied"}
	if v, err := bpf.LoadVerdicts(bpf.VerdictConfig{}); err != nil {
		d.Cgroup = err.Error()
	} else if err := v.Close(false); err != nil {
		d.Cgroup = err.Error()
	}
	if err := nft.Remove(nft.Config{Table: nft.Name(d.Backend)}); err != nil { // of nobody: it only asks
		d.Nft = err.Error()
	}
	if !r.Has(features.NftCgroup) && d.Nft == "" {
		d.Nft = "rules that name cgroups are refused: the kernel has no nft socket cgroupv2"
	}
	var err error
	if d.Pins, err = pinsOf(""); err != nil {
		d.Pins, d.PinsProblem = "", err.Error()
	} else {
		d.Pins = bpffs
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
	if d.Pins == "" {
		fmt.Fprintf(w, "  without snitch\tnothing is denied, whatever enforce.fail says: %s\n", text.Clean(d.PinsProblem))
	} else {
		fmt.Fprintf(w, "  without snitch\twhat enforce.fail says, by pins in %s\n", d.Pins)
	}
	fmt.Fprintf(w, "  packet sockets\t%s\n", d.Packet)
	_ = w.Flush() // a strings.Builder takes everything
}
