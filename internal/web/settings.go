package web

import "time"

// AccountsPage shows what the viewer has authorised at the forges.
type AccountsPage struct {
	Frame
	Tabs []Tab
	List []AccountRow
}

func (AccountsPage) template() string { return "accounts.html" }

// TokensPage lists API tokens and makes new ones.
type TokensPage struct {
	Frame
	Tabs   []Tab
	List   []TokenRow
	Made   string // a token just made, in full; it is not shown again
	Name   string // what the form holds, when it is to be mended
	Scopes []Choice
	Days   []Choice
}

// TokenRow is a token in the list.
type TokenRow struct {
	ID, Name, Hint string
	Scopes         []string
	CreatedAt      time.Time
	ExpiresAt      *time.Time
	LastUsedAt     *time.Time
	Revoke         Action
}

func (TokensPage) template() string { return "tokens.html" }
