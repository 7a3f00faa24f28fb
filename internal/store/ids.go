package store

import (
	"encoding/base32"
	"strings"

	"github.com/google/uuid"
)

var idAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newID returns an id that sorts by the time of its making: the prefix and 26
// characters of a UUID of version 7.
func newID(prefix string) string {
	id := uuid.Must(uuid.NewV7())
	return prefix + idAlphabet.EncodeToString(id[:])
}

// NewIncidentID names an incident.
func NewIncidentID() string { return newID("inc_") }

// clean drops what PostgreSQL's text does not take: NUL and invalid UTF-8.
// Payloads of the forges have both.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
