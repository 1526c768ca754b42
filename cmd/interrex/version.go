package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is the output of `interrex version`. Revision, Time and Modified are set if
// the Go tool built it in a checkout.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // the commit
	Time     string `json:"time,omitempty"`     // of the commit, RFC 3339
	Modified bool   `json:"modified"`           // the checkout had changes that were not committed
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Example: `  interrex version
  interrex version -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error { return a.version() },
	}
}

func (a *app) version() error {
	b := readBuild()
	return a.print(b, table{rows: [][]string{{b.String()}}}, b.Version)
}

// readBuild reads what the Go tool stamped into the binary.
func readBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info)
}

func buildOf(info *debug.BuildInfo) build {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	return build{
		Version:  cmp.Or(info.Main.Version, "(devel)"),
		Revision: settings["vcs.revision"],
		Time:     settings["vcs.time"],
		Modified: settings["vcs.modified"] == "true",
		Go:       info.GoVersion,
		OS:       settings["GOOS"],
		Arch:     settings["GOARCH"],
	}
}

// String returns it on one line.
func (b build) String() string {
	text := "interrex " + b.Version
	if b.Revision != "" {
		text += fmt.Sprintf(", commit %.12s of %s", b.Revision, cmp.Or(b.Time, "an unknown time"))
	}
	if b.Modified {
		text += ", modified"
	}
	return fmt.Sprintf("%s (%s, %s/%s)", text, b.Go, b.OS, b.Arch)
}
