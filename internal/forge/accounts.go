package forge

import (
	"fmt"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Account is a forge and the access that DevFlowFix has to it.
type Account struct {
	Opener Opener
	Access Access
}

// Accounts are the forges that are configured.
type Accounts map[Provider]Account

// Open returns the forge of a connection; Credentials when it is not
// configured.
func (a Accounts) Open(p Provider) (Forge, error) {
	account, ok := a[p]
	if !ok {
		return nil, &fault.Error{Kind: fault.Credentials, Code: "not_configured", Sentence: fmt.Sprintf(
			"DevFlowFix has no access to %s. The operator sets %s_TOKEN.", p.Title(), map[Provider]string{GitHub: "GITHUB", GitLab: "GITLAB"}[p])}
	}
	return account.Opener.Open(account.Access)
}
