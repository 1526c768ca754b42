package main

import (
	"runtime/debug"
	"testing"
)

func TestAVersionSaysWhatItWasBuiltOf(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	info := &debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{setting("GOOS", "linux"), setting("GOARCH", "amd64")}}
	if got, want := buildOf(info).String(), "interrex (devel) (go1.26, linux/amd64)"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	info.Main.Version = "v1.2.3"
	info.Settings = append(info.Settings, setting("vcs.revision", "0123456789abcdef0123"), setting("vcs.time", "2026-01-31T12:00:00Z"), setting("vcs.modified", "true"))
	if got, want := buildOf(info).String(), "interrex v1.2.3, commit 0123456789ab of 2026-01-31T12:00:00Z, modified (go1.26, linux/amd64)"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}
