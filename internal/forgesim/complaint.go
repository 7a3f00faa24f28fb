package forgesim

import "fmt"

// Complaint is something that a forge takes in silence although it cannot be
// meant: a mistake of the client that only shows later.
type Complaint struct {
	Provider string `json:"provider"`
	About    string `json:"about"`
}

// Complaints lists what clients did wrong, oldest first. Tests assert that
// there are none.
func (s *Sim) Complaints() []Complaint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Complaint(nil), s.complaints...)
}

func (s *Sim) complain(provider, format string, args ...any) {
	if len(s.complaints) < keepRequests {
		s.complaints = append(s.complaints, Complaint{Provider: provider, About: fmt.Sprintf(format, args...)})
	}
}
