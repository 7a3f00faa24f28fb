package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"github.com/devflowfix/devflowfix/internal/secret"
)

// Prefixes tell people and scanners what an opaque token is.
const (
	APITokenPrefix     = "dff_"
	RefreshTokenPrefix = "dfr_"
)

// Opaque is a token that means nothing by itself: 128 bits and more of chance,
// stored as its hash.
type Opaque struct {
	Token secret.Text
	Hash  []byte
	Hint  string // its last characters, to tell tokens apart
}

const hintLength = 4

// NewOpaque makes a token.
func NewOpaque(prefix string) Opaque {
	text := prefix + strings.ToLower(rand.Text()+rand.Text())
	return Opaque{Token: secret.NewText(text), Hash: HashOpaque(text), Hint: text[len(text)-hintLength:]}
}

// HashOpaque is how a token is stored and found. A plain hash does: nobody can
// try all tokens.
func HashOpaque(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
