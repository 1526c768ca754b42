package featuretests

import (
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // how another program reads the file

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// Another program reads every agent's SQLite file while the agents run.
func TestTableOfHoldersFollowsAcrossLeadersAndRestarts(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) { c.Notify.LeaseHolders = "sqlite" })
	leases := f.client().Leases()
	claim := func(name, holder string) interrex.Lease {
		a, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(name), Holder: holder, TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return a.Lease
	}
	db, web := claim("app/db", "ann"), claim("app/web", "bob")
	want := map[string]interrex.Lease{"app/db": db, "app/web": web}
	for i := range f.members {
		f.holders(i, want)
	}

	leader := f.leader()
	f.kill(leader)
	if _, err := leases.Revoke(t.Context(), interrex.RevokeRequest{Key: web.Key, Token: web.Token}); err != nil {
		t.Fatal(err)
	}
	moved, err := leases.Transfer(t.Context(), interrex.TransferRequest{Key: db.Key, Token: db.Token, To: "eve"})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]interrex.Lease{"app/db": moved.Lease, "app/log": claim("app/log", "joe")}
	for _, i := range f.others(leader) {
		f.holders(i, want)
	}
	f.start(leader)
	f.holders(leader, want)
}

// A restore ends the history that the tables follow. They have the leases that are held,
// and none of the file, without any event after it; also that of an agent that was down.
func TestTablesOfHoldersFollowAcrossARestore(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) { c.Notify.LeaseHolders = "sqlite" })
	c := f.client()
	claim := func(name string) interrex.Lease { return claimKey(t, c, name).Lease }
	revoke := func(l interrex.Lease) {
		t.Helper()
		if _, err := c.Leases().Revoke(t.Context(), interrex.RevokeRequest{Key: l.Key, Token: l.Token}); err != nil {
			t.Fatal(err)
		}
	}
	values(t, client.KV{By: c}, "saved/", 2)
	ended, short := claim("app/of-the-file"), claim("app/short")
	file := saved(t, c)
	revoke(ended)
	db := claim("app/db")
	for i := range f.members {
		f.holders(i, map[string]interrex.Lease{"app/db": db, "app/short": short})
	}
	down := f.others(f.leader())[0]
	f.kill(down)
	revoke(short)
	want := map[string]interrex.Lease{"app/db": db, "app/log": claim("app/log")}
	restores(t, f.client(f.leader()), file)
	for _, i := range f.others(down) {
		f.holders(i, want)
	}
	f.start(down)
	f.holders(down, want)
	revoke(db)
	want = map[string]interrex.Lease{"app/log": want["app/log"], "app/web": claim("app/web")}
	for i := range f.members {
		f.holders(i, want)
	}
}

// holders waits until the file of member i shows exactly these leases.
func (f *fleet) holders(i int, want map[string]interrex.Lease) {
	f.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(f.members[i].config.Agent.DataDir, "lease-holders.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	text := map[string]string{}
	for k, l := range want {
		text[k] = fmt.Sprintf("%s under %s", l.Holder, l.Token)
	}
	eventually(f.t, fmt.Sprintf("the table of %s shows %v", f.id(i), text), func() error {
		got, err := readHolders(db)
		if err == nil && !maps.Equal(got, text) {
			err = fmt.Errorf("it shows %v", got)
		}
		return err
	})
}

func readHolders(db *sql.DB) (map[string]string, error) {
	rows, err := db.Query("SELECT key, holder, token FROM lease_holders")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var key, holder string
		var token int64
		if err := rows.Scan(&key, &holder, &token); err != nil {
			return nil, err
		}
		got[key] = fmt.Sprintf("%s under %d", holder, token)
	}
	return got, rows.Err()
}
