package localtest_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/local/localtest"
)

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func notes(ctx context.Context, url string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `CREATE TABLE notes (text text); INSERT INTO notes VALUES ('from the template')`)
	return err
}

func TestEachTestHasItsOwnCopyOfTheTemplate(t *testing.T) {
	for _, name := range []string{"one", "another"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, localtest.Database(t, "notes", notes))
			if _, err := db.Exec(`INSERT INTO notes VALUES ('mine')`); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := db.QueryRow(`SELECT count(*) FROM notes`).Scan(&n); err != nil || n != 2 {
				t.Errorf("%d notes, %v; want that of the template and ours", n, err)
			}
		})
	}
}

func TestRedis(t *testing.T) {
	options, err := redis.ParseURL(localtest.Redis(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	defer c.Close()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseIsDroppedWithItsTest(t *testing.T) {
	var url string
	outlives := t // its connections are still open when the inner test ends
	t.Run("a test", func(t *testing.T) {
		url = localtest.Database(t, "empty", nil)
		if err := open(outlives, url).PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if err := open(t, url).PingContext(t.Context()); err == nil {
		t.Error("its database is still there")
	}
}
