package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestAnOwnerIsToldOnceAndLeavesWhatAPersonDid(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	c := w.connect(wanted(ann, nil))
	w.fail(c, run(1))
	id := w.incidents(ann)[0].ID
	save := func(o, kind string) {
		w.inTx(func(tx *store.Tx) error {
			return tx.SaveOwner(t.Context(), id, owner.Choice{Owner: o, Rule: "by " + o, Kind: kind})
		})
	}
	save("@a", owner.KindCodeowners) // belongs to the opening
	save("@a", owner.KindCodeowners)
	save("@b", owner.KindRule)
	save("@b", owner.KindRule)
	w.exec(`UPDATE incidents SET assigned_to = 'carl' WHERE id = $1`, id)
	save("@late", owner.KindRule) // decided before carl was assigned
	save("carl", owner.KindManual)
	w.exec(`UPDATE incidents SET assigned_to = '' WHERE id = $1`, id)
	save("carl", owner.KindManual) // decided before he was released
	save("@b", owner.KindRule)
	d, err := w.IncidentOf(t.Context(), ann, id, 10, 100)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range d.Entries {
		if e.Kind == store.EntryOwner {
			told = append(told, e.Reason+" "+e.Inputs)
		}
	}
	want := []string{`by @b {"kind": "rule", "owner": "@b", "before": "@a"}`, `by @b {"kind": "rule", "owner": "@b", "before": "carl"}`}
	if diff := cmp.Diff(want, told); diff != "" || d.Owner != "@b" {
		t.Errorf("owner %q, entries (-want +got):\n%s", d.Owner, diff)
	}
}

func TestCodeownersAreReadAgainAfterTheyWereForgotten(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	for _, branch := range []string{"main", "next"} {
		file := store.CodeownersFile{Branch: branch, Path: "CODEOWNERS", Content: "* @a\n", ReadAt: now}
		if err := w.SaveCodeowners(t.Context(), c.ID, file); err != nil {
			t.Fatal(err)
		}
	}
	// printf '* @a\n' | git hash-object --stdin
	if f, err := w.Codeowners(t.Context(), c.ID, "main"); err != nil || f.Content != "* @a\n" || f.BlobID != "d32f533dc9f354cf8a3f758288932e5dfc5732d6" {
		t.Errorf("CODEOWNERS = %+v, %v", f, err)
	}
	w.inTx(func(tx *store.Tx) error { return tx.ForgetCodeowners(t.Context(), c.ID, "main") })
	_, err := w.Codeowners(t.Context(), c.ID, "main")
	wantKind(t, "a forgotten file", err, fault.NotFound)
	if _, err := w.Codeowners(t.Context(), c.ID, "next"); err != nil {
		t.Errorf("the file of another branch: %v", err)
	}
}
