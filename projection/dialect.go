package projection

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the kind of database behind a *sql.DB.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgresql"
)

func (d Dialect) check() error {
	if d != SQLite && d != PostgreSQL {
		return fmt.Errorf("dialect %q is neither %q nor %q", d, SQLite, PostgreSQL)
	}
	return nil
}

// connect returns the statements that each connection needs before a transaction.
func (d Dialect) connect() []string {
	if d == PostgreSQL {
		return nil
	}
	return []string{
		// The processes that share the database take turns.
		"PRAGMA busy_timeout = 5000",
		// The copy never waits for the disk, which the log needs: after a power cut it
		// is checked and compared before it is used.
		"PRAGMA synchronous = OFF",
		"PRAGMA cache_size = -8192",         // KiB: a large transaction writes a page once
		"PRAGMA wal_autocheckpoint = 16384", // pages: and several write it back once
	}
}

// begin returns the statements that begin a transaction and exclude other writers.
func (d Dialect) begin() []string {
	if d == PostgreSQL {
		return []string{"BEGIN ISOLATION LEVEL READ COMMITTED", "SELECT pg_advisory_xact_lock(7400)"}
	}
	return []string{"BEGIN IMMEDIATE"}
}

// there returns the query for whether a table exists.
func (d Dialect) there(table string) string {
	if d == PostgreSQL {
		return "SELECT to_regclass('" + table + "') IS NOT NULL"
	}
	return "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = '" + table + "'"
}

// repeat returns a text n times, in which each @ is an argument.
func (d Dialect) repeat(unit, separator string, n int) string {
	text := strings.TrimSuffix(strings.Repeat(unit+separator, n), separator)
	if d == SQLite {
		// SQLite takes a number for a name, and drivers search all arguments for each.
		return strings.ReplaceAll(text, "@", "?")
	}
	parts := strings.Split(text, "@")
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(p)
	}
	return b.String()
}
