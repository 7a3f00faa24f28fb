package secret_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fernet/fernet-go"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/secret"
)

func ring(t testing.TB, keys ...string) *secret.Keyring {
	t.Helper()
	r, err := secret.ParseKeyring(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTextNeverPrints(t *testing.T) {
	s := secret.NewText("hunter2")
	type holder struct{ Token secret.Text }
	h := holder{s}
	encoded, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", h, h, h, s, s), fmt.Sprintf("%x", s), fmt.Sprint(&h), string(encoded),
	} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") {
			t.Errorf("printed: %s", out)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Errorf("Reveal = %q", s.Reveal())
	}
}

func TestEveryKeyOfTheRingDecryptsAndTheFirstEncrypts(t *testing.T) {
	older, newer := secret.NewKey(), secret.NewKey()
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.String().Draw(rt, "plain")
		token, err := ring(t, older).Encrypt(secret.NewText(plain))
		if err != nil {
			rt.Fatal(err)
		}
		got, err := ring(t, newer, older).Decrypt(token)
		if err != nil || got.Reveal() != plain {
			rt.Fatalf("Decrypt = %q, %v; want %q", got.Reveal(), err, plain)
		}
	})
	token, err := ring(t, newer, older).Encrypt(secret.NewText("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring(t, older).Decrypt(token); !errors.Is(err, secret.ErrUndecryptable) {
		t.Errorf("the second key encrypted: err = %v", err)
	}
}

func TestATokenIsRenewedUnderTheFirstKey(t *testing.T) {
	older, newer := secret.NewKey(), secret.NewKey()
	both := ring(t, newer, older)
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.StringN(1, -1, -1).Draw(rt, "plain")
		token, err := ring(t, older).Encrypt(secret.NewText(plain))
		if err != nil {
			rt.Fatal(err)
		}
		renewed, err := both.Renew(token)
		if err != nil {
			rt.Fatal(err)
		}
		if got, err := ring(t, newer).Decrypt(renewed); err != nil || got.Reveal() != plain {
			rt.Fatalf("renewed to %q, %v; want %q", got.Reveal(), err, plain)
		}
		if again, err := both.Renew(renewed); err != nil || again != renewed {
			rt.Fatalf("renewed again: %v", err)
		}
	})
	foreign, err := ring(t, secret.NewKey()).Encrypt(secret.NewText("x"))
	if err != nil {
		t.Fatal(err)
	}
	// The last is a Fernet token of nothing, which we never make.
	nothing, err := fernet.EncryptAndSign(nil, fernet.MustDecodeKeys(older)[0])
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]error{"": nil, foreign: secret.ErrUndecryptable, "gAAAAA": secret.ErrUndecryptable, "\x00": secret.ErrUndecryptable, string(nothing): nil} {
		if renewed, err := both.Renew(token); !errors.Is(err, want) || (renewed == "") != (token == "" || want != nil) {
			t.Errorf("Renew(%q) = %q, %v", token, renewed, err)
		}
	}
}

func TestBadKeysAreNamedByPositionOnly(t *testing.T) {
	for _, list := range []string{"", "c2hvcnQ=", secret.NewKey() + ",hunter2", secret.NewKey() + ","} {
		_, err := secret.ParseKeyring(list)
		if err == nil {
			t.Errorf("ParseKeyring(%q) took it", list)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestDerivedKeysFollowTheRing(t *testing.T) {
	a, b := secret.NewKey(), secret.NewKey()
	one, two := ring(t, a).Derive("jwt"), ring(t, b, a).Derive("jwt")
	if string(one[0]) != string(two[1]) || string(two[0]) == string(two[1]) {
		t.Error("a key's derivation depends on its place in the ring")
	}
	if string(one[0]) == string(ring(t, a).Derive("cursor")[0]) {
		t.Error("purposes share a key")
	}
}
