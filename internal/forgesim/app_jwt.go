package forgesim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

// undecodable is what GitHub says of a JWT that it can make nothing of.
const undecodable = "A JSON web token could not be decoded"

// claims are what an App's JWT says.
type claims struct {
	Issuer   any `json:"iss"` // the App's id or its client id, as a number or a text
	IssuedAt any `json:"iat"`
	Expires  any `json:"exp"`
}

// appJWTProblem is what GitHub says against a JWT of the App; empty means that
// it is good.
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func (s *Sim) appJWTProblem(token string) string {
	if s.state.App == nil {
		return undecodable
	}
	key, err := s.state.App.key()
	if err != nil {
		return "Integration must generate a public key"
	}
	c, ok := verifiedClaims(token, key)
	if !ok || !s.state.App.issued(c.Issuer) {
		return undecodable
	}
	issued, isNumber := c.IssuedAt.(float64)
	now := float64(s.now().Unix())
	if !isNumber || issued > now+60 {
		return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	}
	expires, isNumber := c.Expires.(float64)
	switch {
	case !isNumber || expires <= now:
		return "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	case expires > now+600:
		return "'Expiration time' claim ('exp') is too far in the future"
	}
	return ""
}

func (a *App) issued(issuer any) bool {
	if n, isNumber := issuer.(float64); isNumber {
		return n == float64(a.ID)
	}
	return issuer == strconv.FormatInt(a.ID, 10) || issuer == a.ClientID
}

// verifiedClaims reads a JWT that is signed with RS256.
func verifiedClaims(token string, key *rsa.PublicKey) (claims, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, false
	}
	var head struct {
		Algorithm string `json:"alg"`
	}
	var c claims
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !segment(parts[0], &head) || head.Algorithm != "RS256" || !segment(parts[1], &c) {
		return claims{}, false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return c, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
}

// segment decodes a part of a JWT.
func segment(part string, into any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(raw, into) == nil
}
