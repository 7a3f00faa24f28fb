// Package secret keeps secrets from being printed, and encrypts those that are
// stored. Everything at rest is a Fernet token under a ring of keys: the first
// key encrypts, every key decrypts, so that keys can be changed while the
// system runs.
package secret

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/fernet/fernet-go"
)

const mask = "***"

// Text is a secret string. Every way of printing it, JSON included, gives
// "***"; Reveal is the only way to its value.
type Text struct{ value string }

// NewText returns the secret that s holds.
func NewText(s string) Text { return Text{s} }

// Random returns a new secret of 32 random bytes, in hexadecimal.
func Random() Text {
	b := make([]byte, 32)
	rand.Read(b) //nolint:errcheck // crypto/rand.Read never fails
	return Text{hex.EncodeToString(b)}
}

// Reveal returns the value itself.
func (t Text) Reveal() string { return t.value }

// IsZero reports whether there is no value.
func (t Text) IsZero() bool { return t.value == "" }

// String hides the value.
func (t Text) String() string { return mask }

// GoString hides the value from %#v.
func (t Text) GoString() string { return mask }

// MarshalText hides the value from encoders.
func (t Text) MarshalText() ([]byte, error) { return []byte(mask), nil }

// UnmarshalText reads a value, for settings files.
func (t *Text) UnmarshalText(b []byte) error {
	t.value = string(b)
	return nil
}

// ErrUndecryptable means that no key of the ring opens a token: the key that
// made it is missing from the ring, or the token was damaged.
var ErrUndecryptable = errors.New("no key of OAUTH_TOKEN_ENCRYPTION_KEY decrypts this value; add the key that encrypted it to the list")

// Keyring encrypts with its first key and decrypts with any.
type Keyring struct {
	keys []*fernet.Key
}

// NewKey returns a fresh Fernet key in the form that ParseKeyring reads.
func NewKey() string {
	var k fernet.Key
	if err := k.Generate(); err != nil {
		panic(fmt.Sprintf("crypto/rand: %v", err)) // documented never to happen
	}
	return k.Encode()
}

// ParseKeyring reads a comma-separated list of Fernet keys (32 bytes in
// base64). Its errors name the position of a bad key, never its text.
func ParseKeyring(list string) (*Keyring, error) {
	var ring Keyring
	for i, part := range strings.Split(list, ",") {
		raw, err := decodeKey(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("key %d is not 32 bytes in base64", i+1)
		}
		k := fernet.Key(raw)
		ring.keys = append(ring.keys, &k)
	}
	return &ring, nil
}

// decodeKey takes both base64 alphabets, with and without padding, because
// keys are pasted from many generators.
func decodeKey(s string) ([32]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 32 {
		return [32]byte{}, errors.New("not a key")
	}
	return [32]byte(b), nil
}

// Encrypt returns t as a Fernet token under the first key. An empty secret
// gives an empty token.
func (r *Keyring) Encrypt(t Text) (string, error) {
	if t.IsZero() {
		return "", nil
	}
	token, err := fernet.EncryptAndSign([]byte(t.value), r.keys[0])
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return string(token), nil
}

// Decrypt opens a token that any key of the ring made; ErrUndecryptable when
// none did. An empty token gives an empty secret.
func (r *Keyring) Decrypt(token string) (Text, error) {
	if token == "" {
		return Text{}, nil
	}
	// A time to live of zero means that stored tokens do not expire.
	plain := fernet.VerifyAndDecrypt([]byte(token), 0, r.keys)
	if plain == nil {
		return Text{}, ErrUndecryptable
	}
	return Text{string(plain)}, nil
}

// Len is how many keys the ring has.
func (r *Keyring) Len() int { return len(r.keys) }

// Renew returns what a token holds as a token under the first key; the token
// itself when it is under that key already, and when it is empty.
// ErrUndecryptable when no key opens it.
func (r *Keyring) Renew(token string) (string, error) {
	if token == "" || fernet.VerifyAndDecrypt([]byte(token), 0, r.keys[:1]) != nil {
		return token, nil
	}
	plain := fernet.VerifyAndDecrypt([]byte(token), 0, r.keys)
	if plain == nil {
		return "", ErrUndecryptable
	}
	renewed, err := fernet.EncryptAndSign(plain, r.keys[0])
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return string(renewed), nil
}

// Derive returns one 32-byte key per key of the ring, for another purpose than
// encryption. The first is for making, all are for checking.
func (r *Keyring) Derive(purpose string) [][]byte {
	derived := make([][]byte, len(r.keys))
	for i, k := range r.keys {
		key, err := hkdf.Key(sha256.New, k[:], nil, purpose, 32)
		if err != nil {
			panic(fmt.Sprintf("hkdf: %v", err)) // only for lengths out of range
		}
		derived[i] = key
	}
	return derived
}
