package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
)

func TestNoErrorRepeatsTheDatabaseURL(t *testing.T) {
	for _, text := range []string{
		"-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----\n",
		"host=127.0.0.1 user=bob password = s3cr3t sslmode=bad",
		"postgres://bob:s3cr3t@127.0.0.1:1/db?sslmode=bad",
		"postgres://bob:s3cr3t@127.0.0.1:port/db",
		"postgres://bob:1@s3cr3t@127.0.0.1:1/db",
		"postgres://bob:1/s3cr3t@127.0.0.1:1/db",
		"postgres://bob:1?s3cr3t@127.0.0.1:1/db",
		"postgres://bob:1#s3cr3t@127.0.0.1:1/db",
		"postgres://127.0.0.1:1/db?sslmode=bad&password=s3cr3t",
		"postgres://bob:%zzs3cr3t@127.0.0.1:1/db",
		"postgres://bob:s3cr3t@127.0.0.1:1/db", // nothing listens there
	} {
		file := filepath.Join(t.TempDir(), "url")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := agent.Config{
			ID: "a", Notify: config.Notify{LeaseHolders: file}, Postgres: openPostgres,
		}.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "notify.lease-holders: ") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAURLInPlaceOfItsFileIsRefusedUnrepeated(t *testing.T) {
	_, err := agent.Config{ID: "a", Notify: config.Notify{LeaseHolders: "postgres://bob:s3cr3t@h/db"}, Postgres: openPostgres}.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the path of a file") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}
