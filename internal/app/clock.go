package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// ForgeAhead is how far a forge's clock is ahead of ours, to the second, by the
// Date of an answer. The request carries no credential; any answer will do.
func (a *App) ForgeAhead(ctx context.Context, p forge.Provider) (time.Duration, error) {
	address := a.Config.GitHub.APIURL
	if p == forge.GitLab {
		address = a.Config.GitLab.URL + "/api/v4/version"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return 0, fmt.Errorf("clock of %s: %w", p, err)
	}
	began := time.Now()
	response, err := a.network.Client(tokenTimeout).Do(request)
	if err != nil {
		return 0, fault.Wrap(fault.Transient, err, p.Title()+" does not answer.")
	}
	if err := response.Body.Close(); err != nil {
		return 0, fmt.Errorf("clock of %s: %w", p, err)
	}
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return 0, fault.New(fault.Transient, p.Title()+" does not tell its time.")
	}
	// The answer was written at some moment between the two of ours.
	ours := began.Add(time.Since(began) / 2)
	return theirs.Sub(ours).Round(time.Second), nil
}
