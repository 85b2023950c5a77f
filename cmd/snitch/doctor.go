package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"snitch/bpf"
	"snitch/bpf/features"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
)

// DoctorOptions are the flags of `snitch doctor`.
type DoctorOptions struct {
	JSON bool
}

// Diagnosis is what `snitch doctor --json` prints.
type Diagnosis struct {
	Tier features.Tier `json:"tier"` // that runs, or "invalid"
	// WhyNotBetter names for each better tier what it lacks.
	WhyNotBetter []string            `json:"why_not_better"`
	Mechanisms   []control.Mechanism `json:"mechanisms"` // what was loaded and attached to find out
	Enforce      *DoctorEnforce      `json:"enforce,omitempty"`
	Problem      string              `json:"problem,omitempty"`
	features.Report
}

func newDoctor(io stdio) *cobra.Command {
	var opts DoctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel can do for snitch, and what follows",
		Long: `Try every kernel feature that snitch can use, by using it, and say which way of
counting runs, what is missing, why, and what that costs. Then load and attach
the programs once, and name what runs for each purpose. Nothing stays behind.`,
		Example:           "  sudo snitch doctor\n  sudo snitch doctor --json | jq .tier",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), io, opts) },
	}
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	return cmd
}

func runDoctor(ctx context.Context, io stdio, opts DoctorOptions) error {
	if err := needRoot("doctor tries kernel features"); err != nil {
		return err
	}
	d := diagnose(ctx)
	var err error
	if opts.JSON {
		err = printJSON(io.out, d)
	} else {
		err = write(io.out, d.String())
	}
	if err == nil && d.Problem != "" {
		err = lacksError(errors.New(d.Problem), "see docs/kernels.md for what each kernel has")
	}
	return err
}

// diagnose probes, and proves the answer by loading what it chose.
func diagnose(ctx context.Context) Diagnosis {
	d := Diagnosis{Report: features.Detect(ctx), WhyNotBetter: []string{}, Mechanisms: []control.Mechanism{}}
	tier, why := d.Report.Tier()
	d.Tier = tier
	d.WhyNotBetter = append(d.WhyNotBetter, why...)
	if tier == features.TierInvalid {
		d.Problem = "this kernel runs no way of counting: " + strings.Join(why, "; ")
		return d
	}
	kernel, err := bpf.Load(bpf.Config{Tier: tier})
	if err != nil {
		d.Problem = fmt.Sprintf("the programs of tier %s do not load: %v", tier, err)
		return d
	}
	d.Mechanisms = mechanisms(kernel)
	if err := kernel.Close(); err != nil {
		d.Problem = fmt.Sprintf("detach: %v", err)
	}
	d.Enforce = diagnoseEnforce(ctx, d.Report)
	return d
}

func mechanisms(kernel *bpf.Kernel) []control.Mechanism {
	out := []control.Mechanism{}
	for _, m := range kernel.Mechanisms() {
		out = append(out, control.Mechanism{Purpose: m.Purpose, Program: m.Program, At: m.AttachPoint})
	}
	return out
}

// String is the diagnosis for people.
func (d Diagnosis) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kernel     %s %s\n", text.Clean(d.Kernel), text.Clean(d.Machine))
	fmt.Fprintf(&b, "lockdown   %s\n", d.Lockdown)
	cgroup := d.Cgroup2
	if cgroup == "" {
		cgroup = "not mounted: snitch mounts it for itself"
	}
	if d.Hybrid {
		cgroup += " (beside cgroup v1)"
	}
	fmt.Fprintf(&b, "cgroup v2  %s\n", text.Clean(cgroup))
	if d.NetClass != "" {
		fmt.Fprintf(&b, "net_cls    %s\n", text.Clean(d.NetClass))
	}
	fmt.Fprintf(&b, "tier       %s\n", d.Tier)
	for _, why := range d.WhyNotBetter {
		fmt.Fprintf(&b, "           not %s\n", text.Clean(why))
	}
	b.WriteString("\n")
	d.features(&b)
	d.running(&b)
	return b.String()
}

func (d Diagnosis) features(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, r := range d.Results {
		fmt.Fprintf(w, "%s\t%s\t%s\n", text.Clean(r.Feature.String()), r.Answer, text.Clean(r.Reason))
		if r.Consequence != "" {
			fmt.Fprintf(w, "\t\t→ %s\n", text.Clean(r.Consequence))
		}
	}
	_ = w.Flush() // a strings.Builder takes everything
}

func (d Diagnosis) running(b *strings.Builder) {
	if len(d.Mechanisms) == 0 {
		return
	}
	b.WriteString("\nwhat runs:\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, m := range d.Mechanisms {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", m.Purpose, m.Program, m.At)
	}
	_ = w.Flush() // a strings.Builder takes everything
	if d.Enforce != nil {
		b.WriteString("\nto deny with:\n")
		d.Enforce.write(b)
	}
}

// needRoot refuses an unprivileged user, saying what needs the privilege.
func needRoot(what string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return lacksError(errors.New(what+", which only root may"), "run it with sudo")
}

// doctor is the daemon's answer: what was found when it started.
func (d *daemon) doctor() control.Doctor {
	r := &d.features
	_, why := r.Tier()
	out := control.Doctor{Tier: d.kernel.Tier().String(), WhyNotBetter: append([]string{}, why...), Mechanisms: mechanisms(d.kernel),
		Kernel: r.Kernel, Machine: r.Machine, Lockdown: r.Lockdown, Cgroup2: r.Cgroup2, Hybrid: r.Hybrid, NetClass: r.NetClass, Features: []control.Feature{}}
	for _, f := range r.Results {
		out.Features = append(out.Features, control.Feature{Name: f.Feature.String(), Answer: f.Answer.String(), Reason: f.Reason, Consequence: f.Consequence})
	}
	return out
}
