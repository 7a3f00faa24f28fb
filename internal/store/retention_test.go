package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/store"
)

// day is the start of a day, counted from today.
func day(n int) time.Time { return now.Truncate(24*time.Hour).AddDate(0, 0, n) }

// partition makes the partition of a day, as was done when it was near.
func (w *world) partition(n int) {
	w.Helper()
	w.exec(fmt.Sprintf(`CREATE TABLE deliveries_%s PARTITION OF deliveries FOR VALUES FROM ('%s') TO ('%s')`,
		day(n).Format("20060102"), day(n).Format(time.RFC3339), day(n+1).Format(time.RFC3339)))
}

// partitionOf names the table that holds a delivery.
func (w *world) partitionOf(id string) string {
	w.Helper()
	var name string
	err := w.db.GetContext(w.Context(), &name, `SELECT tableoid::regclass::text FROM deliveries WHERE delivery_id = $1`, id)
	if err != nil {
		w.Fatalf("delivery %s: %v", id, err)
	}
	return name
}

func (w *world) record(id string, at time.Time) {
	w.Helper()
	w.inTx(func(tx *store.Tx) error {
		fresh, err := tx.RecordDelivery(w.Context(), applied(id, at))
		if err == nil && !fresh {
			w.Errorf("%s is not fresh", id)
		}
		return err
	})
}

func TestTheComingDaysHavePartitions(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, n := range []int{0, 1, 6} {
		id := fmt.Sprint("in ", n, " days")
		w.record(id, day(n).Add(23*time.Hour+59*time.Minute))
		if got, want := w.partitionOf(id), "deliveries_"+day(n).Format("20060102"); got != want {
			t.Errorf("a delivery %s is in %s, want %s", id, got, want)
		}
	}
	if err := w.EnsurePartitions(t.Context()); err != nil { // they are there
		t.Error(err)
	}
}

func TestADeliveryOfADayWithoutPartitionIsNotLost(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.record("late", day(-3))
	w.record("early", day(30))
	for _, id := range []string{"late", "early"} {
		if got := w.partitionOf(id); got != "deliveries_default" {
			t.Errorf("%s is in %s", id, got)
		}
	}
}

func TestSeveralProcessesMakePartitionsAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 7 {
		w.exec(`DROP TABLE deliveries_` + day(n).Format("20060102"))
	}
	var processes sync.WaitGroup
	for range 4 {
		processes.Go(func() {
			if err := w.EnsurePartitions(t.Context()); err != nil {
				t.Errorf("EnsurePartitions = %v", err)
			}
		})
	}
	processes.Wait()
	w.record("today", now)
	if got := w.partitionOf("today"); got == "deliveries_default" {
		t.Error("today has no partition")
	}
}

// TestPartitionsAreMadeAlthoughADayBeganWithoutOne is a worker that starts
// again after more than a week: its first deliveries come before the sweep.
func TestPartitionsAreMadeAlthoughADayBeganWithoutOne(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.exec(`DROP TABLE deliveries_` + day(0).Format("20060102"))
	w.exec(`DROP TABLE deliveries_` + day(1).Format("20060102"))
	w.record("before the sweep", now)
	if err := w.EnsurePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.record("after the sweep", now)
	w.record("tomorrow", day(1))
	if got, want := w.partitionOf("tomorrow"), "deliveries_"+day(1).Format("20060102"); got != want {
		t.Errorf("a delivery of tomorrow is in %s, want %s", got, want)
	}
	if n := w.count(`SELECT count(*) FROM deliveries`); n != 3 {
		t.Errorf("%d deliveries, want 3", n)
	}
}

func TestWhatIsOlderThanRetentionGoes(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	for _, n := range []int{-10, -9, -8, -7} {
		w.partition(n)
		w.record(fmt.Sprint(n), day(n).Add(time.Hour))
	}
	w.record("of a day without partition", day(-20))
	w.record("of another, which is kept", day(-6))
	for _, n := range []int{-9, -8, -7} {
		key := fmt.Sprint("body ", n)
		if err := w.PutBody(ctx, key, []byte("packed")); err != nil {
			t.Fatal(err)
		}
		w.exec(`UPDATE bodies SET created_at = $2 WHERE key = $1`, key, day(n).Add(time.Hour))
		w.exec(`INSERT INTO hook_tombstones (id, provider, repository_full_name, webhook_url, created_at)
			VALUES ($1, 'github', 'acme/shop', 'https://dff.example/hook', $2)`, fmt.Sprint("tmb ", n), day(n).Add(time.Hour))
	}
	ann := w.connect(wanted(w.user("ann"), nil))

	got, err := w.Expire(ctx, day(-8).Add(15*time.Hour)) // in the middle of a day, which is kept
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(store.Expired{Partitions: 2, Keys: 3, Bodies: 1, Tombstones: 1}, got); diff != "" {
		t.Errorf("Expire (-want +got):\n%s", diff)
	}
	for what, query := range map[string]string{
		"deliveries": `SELECT count(*) FROM deliveries WHERE delivery_id IN ('-8', '-7', 'of another, which is kept')`,
		"keys":       `SELECT count(*) FROM delivery_keys WHERE delivery_id IN ('-8', '-7', 'of another, which is kept')`,
	} {
		if n := w.count(query); n != 3 {
			t.Errorf("%d %s of those to keep, want 3", n, what)
		}
	}
	for what, query := range map[string]string{
		"deliveries": `SELECT count(*) FROM deliveries`,
		"keys":       `SELECT count(*) FROM delivery_keys`,
	} {
		if n := w.count(query); n != 3 {
			t.Errorf("%d %s are left, want 3", n, what)
		}
	}
	if n := w.count(`SELECT count(*) FROM bodies WHERE key IN ('body -8', 'body -7')`); n != 2 {
		t.Errorf("%d bodies of those to keep, want 2", n)
	}
	if n := w.count(`SELECT count(*) FROM hook_tombstones WHERE id IN ('tmb -8', 'tmb -7')`); n != 2 {
		t.Errorf("%d tombstones of those to keep, want 2", n)
	}
	w.again(ann)
	w.record("now", now) // the partitions of today and later are still there
	if got := w.partitionOf("now"); got == "deliveries_default" {
		t.Error("the partition of today is gone")
	}
	if again, err := w.Expire(ctx, day(-8)); err != nil || again != (store.Expired{}) {
		t.Errorf("a second time = %+v, %v", again, err)
	}
}
