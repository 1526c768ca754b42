package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what `interrex version` prints.
type build struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "The binary's version",
		Example: `  interrex version
  interrex version -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			b := build{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			text := fmt.Sprintf("interrex %s (%s, %s/%s)", b.Version, b.Go, b.OS, b.Arch)
			return a.print(b, table{rows: [][]string{{text}}}, b.Version)
		},
	}
}

// version is what the Go tool has stamped into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
