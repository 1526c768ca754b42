package projection_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database opens one more pool on a test's database.
type database struct {
	dialect projection.Dialect
	driver  string
	source  string
}

func (d database) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// pool is what Open takes.
func (d database) pool() (*sql.DB, error) { return sql.Open(d.driver, d.source) }

// onEach runs a test on a fresh database of each dialect: on SQLite always, on
// PostgreSQL where INTERREX_TEST_POSTGRES has the URL of a server.
func onEach(t *testing.T, test func(t *testing.T, d database)) {
	t.Run("sqlite", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lease-holders.db")
		test(t, database{projection.SQLite, "sqlite", "file:" + file + "?_pragma=busy_timeout(10000)"})
	})
	t.Run("postgresql", func(t *testing.T) {
		server := os.Getenv("INTERREX_TEST_POSTGRES")
		if server == "" {
			t.Skip("INTERREX_TEST_POSTGRES is not set: tools/postgres.sh run go test ./projection")
		}
		test(t, database{projection.PostgreSQL, "pgx", schemaOf(t, server)})
	})
}

// schemaOf makes a schema for one test, and returns the URL that ends there.
func schemaOf(t *testing.T, server string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	admin := database{driver: "pgx", source: server}.open(t)
	run(t, admin, "CREATE SCHEMA "+name)
	t.Cleanup(func() { run(t, admin, "DROP SCHEMA "+name+" CASCADE") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

func run(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func holders(t *testing.T, d database) (*projection.Holders, *sql.DB) {
	t.Helper()
	h, err := projection.Open(t.Context(), d.pool, d.dialect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, d.open(t)
}

var acquired = time.Date(2026, 11, 20, 10, 11, 12, 123456789, time.UTC)

func key(name string) interrex.Key { return interrex.Key{Namespace: "ns", Name: name} }

// holder is the row of a claim at a revision, its token.
func holder(name, who string, revision int) projection.Holder {
	return projection.Holder{
		Key: key(name), Holder: who, Token: interrex.Token(revision), TTL: 15 * time.Second,
		AcquiredAt: acquired, Revision: interrex.Revision(revision),
	}
}

// rows returns what others read: "name=holder/token ...", in order.
func rows(t *testing.T, db *sql.DB) string {
	t.Helper()
	res, err := db.QueryContext(t.Context(), "SELECT key, namespace, name, holder, token FROM lease_holders ORDER BY namespace, name")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var all []string
	for res.Next() {
		var k, namespace, name, who string
		var token int64
		if err := res.Scan(&k, &namespace, &name, &who, &token); err != nil {
			t.Fatal(err)
		}
		if k != namespace+"/"+name {
			t.Errorf("key %q of %q and %q", k, namespace, name)
		}
		all = append(all, fmt.Sprintf("%s=%s/%d", strings.TrimPrefix(k, "ns/"), who, token))
	}
	return strings.Join(all, " ")
}

func wantRows(t *testing.T, db *sql.DB, want string) {
	t.Helper()
	if got := rows(t, db); got != want {
		t.Errorf("rows are %q, want %q", got, want)
	}
}
