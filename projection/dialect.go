package projection

import "fmt"

// Dialect is the kind of database behind a *sql.DB.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgresql"
)

// version is the schema's. Open refuses a database of another one.
const version = 1

// schema gives the statements that make what is missing. Names are compared
// bytewise in both dialects, as keys are.
//
// A token is a BIGINT: it is a revision, and those stay below 2^63. They count
// by one, and a recovery raises them to no more than the greater of 2^40 above
// the counter and the unix time x 2^28, which is below 2^63 until the year 3058.
func (d Dialect) schema() ([]string, error) {
	var begin, text, moment string
	switch d {
	case SQLite:
		// Others may read the file while the agent writes; the file remembers.
		begin, text, moment = "PRAGMA journal_mode = WAL", "TEXT", "TEXT"
	case PostgreSQL:
		// Of two CREATE IF NOT EXISTS at once, one fails there.
		begin, text, moment = "SELECT pg_advisory_xact_lock(7400)", `TEXT COLLATE "C"`, "TIMESTAMPTZ"
	default:
		return nil, fmt.Errorf("dialect %q is neither %q nor %q", d, SQLite, PostgreSQL)
	}
	return []string{
		begin,
		`CREATE TABLE IF NOT EXISTS lease_holders (
			key         ` + text + ` PRIMARY KEY,
			namespace   ` + text + ` NOT NULL,
			name        ` + text + ` NOT NULL,
			holder      ` + text + ` NOT NULL,
			token       BIGINT NOT NULL,
			ttl_ms      BIGINT NOT NULL,
			acquired_at ` + moment + ` NOT NULL,
			revision    BIGINT NOT NULL,
			UNIQUE (namespace, name))`,
		`CREATE TABLE IF NOT EXISTS lease_holders_position (
			id       INTEGER PRIMARY KEY CHECK (id = 1),
			version  INTEGER NOT NULL,
			history  TEXT NOT NULL,
			revision BIGINT NOT NULL)`,
		fmt.Sprintf(`INSERT INTO lease_holders_position (id, version, history, revision)
			VALUES (1, %d, '', 0) ON CONFLICT (id) DO NOTHING`, version),
		createFences,
	}, nil
}
