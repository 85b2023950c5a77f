package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletion(io stdio) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script of a shell",
		Long:  "Print the completion script of a shell. Packages install it; from a tarball, add the line below to the shell's start-up file.",
		Example: `  source <(snitch completion bash)
  source <(snitch completion zsh)
  snitch completion fish | source`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(fmt.Errorf("completion wants one shell, got %d", len(args)), "say bash, zsh or fish")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runCompletion(io, cmd.Root(), args[0]) },
	}
}

func runCompletion(io stdio, root *cobra.Command, shell string) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(io.out, true)
	case "zsh":
		return root.GenZshCompletion(io.out)
	case "fish":
		return root.GenFishCompletion(io.out, true)
	}
	return usageError(fmt.Errorf("no completion for shell %q", shell), "say bash, zsh or fish")
}
