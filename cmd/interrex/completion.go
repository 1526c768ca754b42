package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "fish", "powershell", "zsh"}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script for a shell: bash, fish, powershell or zsh",
		Example: `  source <(interrex completion bash)
  interrex completion zsh > "${fpath[1]}/_interrex"`,
		Args:      arguments(1, "SHELL"),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(a.out, true)
			case "fish":
				return c.Root().GenFishCompletion(a.out, true)
			case "powershell":
				return c.Root().GenPowerShellCompletionWithDesc(a.out)
			case "zsh":
				return c.Root().GenZshCompletion(a.out)
			}
			return usageError{fmt.Errorf("shell %q is not one of %s", args[0], strings.Join(shells, ", "))}
		},
	}
}
