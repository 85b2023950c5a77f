package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"snitch/cmd/internal/text"
)

// exitCodesHelp ends the help of every command.
const exitCodesHelp = `Exit codes:
  0  done
  1  the answer is "no", or the work failed
  2  wrong use, or a configuration or policy that does not load
  3  the system lacks something, which the error names
`

// newRoot builds the tree of commands.
func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "snitch",
		Short: "Show, record and judge which program talks to whom",
		Long: `snitch watches every connection of this machine: which program (by path and
SHA-256), started by whom, talks to which name and address, with how many bytes.`,
		Example: `  sudo snitch run              watch, live
  snitch log --since 1h        what happened in the last hour
  snitch log --follow          what happens now
  snitch doctor                what this kernel can do`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetHelpTemplate(helpTemplate)
	return commandGroup(root, newRun(io), newStart(io), newStop(io), newRestart(io), newTUI(io), newTop(io), newLog(io), newQuery(io), newExport(io), newStatus(io), newAlerts(io), newPolicy(io), newBundle(io), newFleet(io), newEnforce(io), newWeb(io), newGeoIP(io), newConfig(io), newImport(io), newRemote(io), newDoctor(io), newVersion(io), newCompletion(io), newMan(io))
}

const helpTemplate = `{{with or .Long .Short}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}
` + exitCodesHelp

// commandGroup makes a command that only holds others; alone it shows its help.
func commandGroup(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = onlyCommands, cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(commands...)
	return cmd
}

// onlyCommands takes every word for the name of a command.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknownCommand(cmd, args[0])
}

// unknownCommand names the command that was probably meant.
func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	hint := fmt.Sprintf("run '%s --help' for the list of commands", cmd.CommandPath())
	if near := text.Nearest(word, names); near != "" {
		hint = fmt.Sprintf("did you mean '%s %s'?", cmd.CommandPath(), near)
	}
	return usageError(fmt.Errorf("unknown command %q", word), hint)
}

// flagError names the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	hint := fmt.Sprintf("run '%s --help' for its flags", cmd.CommandPath())
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := text.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return usageError(err, hint)
}

// noArgs refuses arguments, as wrong use.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError(fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0]),
		fmt.Sprintf("run '%s --help'", cmd.CommandPath()))
}

// choice is a flag with fixed values, which complete.
type choice struct {
	value  *string
	values []string
}

func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c choice) Type() string { return strings.Join(c.values, "|") }

func (c choice) Set(s string) error {
	for _, v := range c.values {
		if s == v {
			*c.value = s
			return nil
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(c.values, ", "))
}

// choiceFlag adds a flag whose values are fixed.
func choiceFlag(cmd *cobra.Command, value *string, name, initial, usage string, values ...string) {
	*value = initial
	cmd.Flags().Var(choice{value: value, values: values}, name, usage)
	complete(cmd, name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	})
}

// dirFlag adds a flag that names a directory.
func dirFlag(cmd *cobra.Command, value *string, name, initial, usage string) {
	cmd.Flags().StringVar(value, name, initial, usage)
	complete(cmd, name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	})
}

// complete registers a completion; it can only fail for a flag that is not
// there or was registered before, which no input brings about.
func complete(cmd *cobra.Command, name string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, f); err != nil {
		cmd.PrintErrln("snitch: completion of --"+name+":", err)
	}
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, value *bool, what string) {
	cmd.Flags().BoolVar(value, "json", false, what)
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	line, err := text.JSON(v)
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return write(w, string(line)+"\n")
}

// write is one whole write of output.
func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
