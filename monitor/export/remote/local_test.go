package remote

import (
	"database/sql"
	"path/filepath"
	"testing"

	"snitch/monitor/store/schema"
)

// openLocal reads the record of a state directory.
func openLocal(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, schema.FileName)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
