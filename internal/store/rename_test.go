package store_test

import (
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestAConnectionFollowsItsRepository(t *testing.T) {
	t.Parallel()
	shop := func(fullName string) forge.Repository {
		return forge.Repository{Provider: forge.GitHub, ID: 42, FullName: fullName}
	}
	elsewhere := func(user string, change func(*store.NewConnection)) *store.NewConnection {
		n := wanted(user, change)
		return &n
	}
	tests := []struct {
		name       string
		connection func(*store.NewConnection)
		other      *store.NewConnection // its UserID is a name; nil for none
		event      forge.Repository
		wantName   string
		wantID     int64
	}{
		{"renamed", nil, nil, shop("acme/store"), "acme/store", 42},
		{"transferred", nil, nil, shop("other/shop"), "other/shop", 42},
		{"in other letters", nil, nil, shop("Acme/Shop"), "Acme/Shop", 42},
		{"as before", nil, nil, shop("acme/shop"), "acme/shop", 42},
		{"an event without a name", nil, nil, shop(""), "acme/shop", 42},
		{"an event of another repository", nil, nil,
			forge.Repository{Provider: forge.GitHub, ID: 43, FullName: "acme/store"}, "acme/shop", 42},
		{"its number becomes known", named(0, "acme/shop"), nil, shop("acme/shop"), "acme/shop", 42},
		{"its number becomes known under a new name", named(0, "acme/shop"), nil, shop("acme/store"), "acme/store", 42},
		{"the user has another connection of that name", nil,
			elsewhere("ann", named(43, "Acme/Store")), shop("acme/store"), "acme/shop", 42},
		{"the user has another connection of that number", named(0, "acme/shop"),
			elsewhere("ann", named(42, "acme/store")), shop("acme/shop"), "acme/shop", 0},
		{"another user has a connection of that name", nil,
			elsewhere("bob", named(43, "acme/store")), shop("acme/store"), "acme/store", 42},
		{"the user has a connection of that name at the other forge", nil,
			elsewhere("ann", func(n *store.NewConnection) {
				named(43, "acme/store")(n)
				n.Repository.Provider = forge.GitLab
			}), shop("acme/store"), "acme/store", 42},
	}
	w := start(t)
	for _, tt := range tests {
		c := w.connect(wanted(w.user("ann of "+tt.name), tt.connection))
		if tt.other != nil {
			tt.other.UserID = w.user(tt.other.UserID + " of " + tt.name)
			w.connect(*tt.other)
		}
		w.inTx(func(tx *store.Tx) error { return tx.FollowName(t.Context(), c, tt.event) })
		got := w.again(c)
		if got.FullName != tt.wantName || got.Repository().ID != tt.wantID {
			t.Errorf("%s: it is %s, number %d; want %s, number %d", tt.name, got.FullName, got.Repository().ID, tt.wantName, tt.wantID)
		}
	}
}
