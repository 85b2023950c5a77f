package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"snitch/bpf"
	"snitch/bpf/features"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
	"snitch/monitor/event"
)

// RunOptions are the flags of `snitch run`. A flag that was given beats the
// configuration.
type RunOptions struct {
	Config      string
	State       string
	Rules       string
	Mode        string
	Backend     string
	Cgroup      string
	Tier        string
	Interval    string
	FlowEntries uint32
	EveryExec   bool
	Check       bool
	Live        bool
	Quiet       bool

	given func(flag string) bool
}

func newRun(io stdio) *cobra.Command {
	var opts RunOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Watch and record all connections, in the foreground",
		Long: `Attach to the kernel, then record which program talks to whom until SIGINT or
SIGTERM, and show it live when standard output is a terminal. The line "ready"
on standard error says that everything is attached. SIGHUP reads the
configuration again.

With --state DIR alone nothing outside DIR is needed or touched, and it runs
beside another instance. As long as nothing is denied (audit), nothing is pinned in
the kernel: when it ends, however it ends, nothing stays behind. SIGUSR2 ends it for
another snitch that takes over: what denies stays meanwhile.`,
		Example: `  sudo snitch run
  sudo snitch run --state /tmp/look --interval 1s
  sudo snitch run --check && sudo systemctl restart snitch`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.given = cmd.Flags().Changed
			return runRun(cmd.Context(), io, opts)
		},
	}
	runFlags(cmd, &opts)
	return cmd
}

func runFlags(cmd *cobra.Command, opts *RunOptions) {
	d := config.Default()
	f := cmd.Flags()
	configFlag(cmd, &opts.Config)
	dirFlag(cmd, &opts.State, "state", d.State, "directory of everything that is written")
	dirFlag(cmd, &opts.Rules, "rules", "", "directory of rules; without any in it, the shipped audit set (/etc/snitch/rules, but not with --state)")
	choiceFlag(cmd, &opts.Mode, "mode", "audit", "audit denies nothing, enforce does; beats 'snitch enforce' and the configuration", config.Modes()...)
	choiceFlag(cmd, &opts.Backend, "backend", d.Enforce.Backend, "what denies", config.Backends()...)
	dirFlag(cmd, &opts.Cgroup, "cgroup", "", "account and deny only sockets whose owner is in this cgroup v2 directory")
	choiceFlag(cmd, &opts.Tier, "tier", d.Tier, "way of counting", config.Tiers()...)
	f.StringVar(&opts.Interval, "interval", text.Duration(d.Interval), "time between two writes to the database")
	f.Uint32Var(&opts.FlowEntries, "flow-entries", d.FlowEntries, "entries of the kernel's flow map")
	f.BoolVar(&opts.EveryExec, "every-exec", false, "record every program that runs, not only those that connect")
	f.BoolVar(&opts.Check, "check", false, "load and attach everything, then exit")
	f.BoolVar(&opts.Live, "live", false, "show connections live, also when standard output is no terminal")
	f.BoolVarP(&opts.Quiet, "quiet", "q", false, "show no connections, also when standard output is a terminal")
	complete(cmd, "interval", cobra.FixedCompletions([]string{"1s", "10s", "1m"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "flow-entries", cobra.NoFileCompletions)
}

// configFlag names the daemon's configuration.
func configFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "config", "", "configuration file ("+defaultConfig+", if it is there)")
	complete(cmd, "config", cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt))
}

// defaultConfig is read when it is there and no other is named.
const defaultConfig = "/etc/snitch/config.yaml"

// settings are the configuration with the flags that beat it. A run that names
// its state directory is apart from the system's daemon, and so does not read
// the system's configuration either.
func (o *RunOptions) settings() (config.Config, error) {
	cfg := config.Default()
	file, err := o.Config, error(nil)
	if file == "" && !o.given("state") {
		file = defaultConfig
	}
	if file != "" {
		cfg, err = config.Load(file)
		if o.Config == "" && errors.Is(err, fs.ErrNotExist) {
			cfg, err = config.Default(), nil
		}
	}
	if err != nil {
		return cfg, usageError(err, "mend the configuration, or name another with --config")
	}
	if o.given("state") {
		cfg.State = o.State
	}
	if o.given("cgroup") {
		cfg.Cgroup = o.Cgroup
	}
	if o.given("backend") {
		cfg.Enforce.Backend = o.Backend
	}
	if o.given("tier") {
		cfg.Tier = o.Tier
	}
	if o.given("flow-entries") {
		cfg.FlowEntries = o.FlowEntries
	}
	switch {
	case o.Rules != "":
		cfg.Rules.Dir = o.Rules
	case o.given("state") && o.Config == "":
		cfg.Rules.Dir = ""
	}
	if o.given("every-exec") {
		cfg.EveryExec = o.EveryExec
	}
	if o.given("interval") {
		if cfg.Interval, err = text.ParseDuration(o.Interval); err != nil || cfg.Interval < 100*time.Millisecond {
			return cfg, usageError(fmt.Errorf("--interval: %q is no duration of at least 100ms", o.Interval), "say --interval 10s")
		}
	}
	return cfg, nil
}

// flag is --mode; invalid when it was not given.
func (o *RunOptions) flag() event.Mode {
	if !o.given("mode") {
		return event.ModeInvalid
	}
	return modeOf(o.Mode)
}

// refuse names what contradicts itself.
func (o *RunOptions) refuse() error {
	if o.Live && o.Quiet {
		return usageError(errors.New("--live and --quiet contradict each other"), "leave one of them away")
	}
	if o.FlowEntries < 64 || o.FlowEntries > 1<<22 {
		return usageError(fmt.Errorf("--flow-entries %d is not between 64 and %d", o.FlowEntries, 1<<22), "leave it away for the default")
	}
	if o.Rules != "" {
		if info, err := os.Stat(o.Rules); err != nil || !info.IsDir() {
			return usageError(fmt.Errorf("--rules %s is no directory", o.Rules), "name a directory with --rules, or leave it away")
		}
	}
	return nil
}

func runRun(ctx context.Context, io stdio, opts RunOptions) error {
	if err := opts.refuse(); err != nil {
		return err
	}
	cfg, err := opts.settings()
	if err != nil {
		return err
	}
	if err := needRoot("snitch run attaches programs to the kernel"); err != nil {
		return err
	}
	if cfg.Cgroup != "" {
		if info, err := os.Stat(cfg.Cgroup); err != nil || !info.IsDir() {
			return usageError(fmt.Errorf("--cgroup %s is no directory of a cgroup v2", cfg.Cgroup), "name one below the cgroup2 mount, see 'snitch doctor'")
		}
	}
	if opts.Check {
		return runCheck(ctx, io, cfg)
	}
	level := new(slog.LevelVar)
	setLevel(level, cfg.LogLevel)
	errors := &errorLog{}
	s := service{io: io, opts: opts, cfg: cfg, log: newLogger(io.err, level, errors), level: level, errors: errors}
	return s.run(ctx)
}

func setLevel(to *slog.LevelVar, name string) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err == nil { // config knows the names
		to.Set(level)
	}
}

// runCheck proves that these rules, this kernel and this configuration work,
// beside a daemon that runs.
func runCheck(ctx context.Context, io stdio, cfg config.Config) error {
	snapshot, err := newRuleSource(cfg.Rules.Dir).Read()
	if err != nil {
		return rulesError(err)
	}
	rules, err := tryRules(ctx, snapshot, cfg.Rules)
	if err != nil {
		return rulesError(err)
	}
	kernel, err := loadKernel(cfg)
	if err != nil {
		return err
	}
	tier, n := kernel.Tier(), len(kernel.Mechanisms())
	if err := kernel.Close(); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return write(io.out, fmt.Sprintf("ok: tier %s, %d programs were loaded, attached and removed; %d rules compiled, %s\n",
		tier, n, rules, snapshot.Source))
}

// loadKernel loads and attaches the kernel side.
func loadKernel(cfg config.Config) (*bpf.Kernel, error) {
	tier, err := features.ParseTier(cfg.Tier)
	if err != nil {
		return nil, usageError(err, "")
	}
	kernel, err := bpf.Load(bpf.Config{Tier: tier, Cgroup: cfg.Cgroup, Filter: cfg.Cgroup != "", FlowEntries: cfg.FlowEntries})
	if err != nil {
		return nil, lacksError(fmt.Errorf("attach to the kernel: %w", err), "run 'snitch doctor' to see what this kernel has")
	}
	return kernel, nil
}
