package hook

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Key derives from a hook's one stored secret what its deliveries are verified
// against. GitHub uses the secret itself. GitLab gets two keys, neither of
// which gives away the other: a token that travels in clear with each
// delivery, and a signing token. Once a hook is known to sign, only the
// signature counts, so that leaving it out does not help a forger.
func Key(p forge.Provider, s secret.Text, signs bool) forge.Key {
	switch {
	case s.IsZero():
		return forge.Key{} // never verifies
	case p != forge.GitLab:
		return forge.Key{Secret: s}
	case signs:
		return forge.Key{SigningToken: signingToken(s)}
	default:
		return forge.Key{Secret: gitlabToken(s)}
	}
}

// Spec is the hook that the forge is asked for.
func Spec(p forge.Provider, want Desired, s secret.Text) forge.HookSpec {
	spec := forge.HookSpec{URL: want.URL, Events: want.Events, Secret: s}
	if p == forge.GitLab {
		spec.Secret, spec.SigningToken = gitlabToken(s), signingToken(s)
	}
	return spec
}

func gitlabToken(s secret.Text) secret.Text {
	return secret.NewText(hex.EncodeToString(derive(s, "gitlab token")))
}

// signingToken has the form that GitLab asks for: whsec_ and 32 bytes in
// base64 (docs.gitlab.com, "Signing tokens" of webhooks).
func signingToken(s secret.Text) secret.Text {
	return secret.NewText("whsec_" + base64.StdEncoding.EncodeToString(derive(s, "gitlab signing token")))
}

func derive(s secret.Text, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(s.Reveal()), nil, purpose, 32)
	if err != nil {
		panic(fmt.Sprintf("hkdf: %v", err)) // only for lengths out of range
	}
	return key
}
