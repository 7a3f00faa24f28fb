package notify

import "slices"

// Entry is a line of an incident's history that nobody was told of yet.
type Entry struct {
	ID   int64
	Kind string
}

// ToldStatus is what an incident is to the people who were told of it.
type ToldStatus string

// What people may take an incident for.
const (
	NeverTold    ToldStatus = ""
	ToldOpen     ToldStatus = "open"
	ToldResolved ToldStatus = "resolved"
)

// Telling is what decides which entries of an incident are told.
type Telling struct {
	Status    string // of the incident, now
	Owner     string
	Snoozed   bool
	Told      ToldStatus
	ToldOwner string
}

// Announcement is an entry that is told, and as what.
type Announcement struct {
	Entry int64
	Kind  Kind
}

// The entries that may make an incident an open one or end it, whatever they
// are told as.
var (
	beginnings = []string{"opened", "confirmed", "reopened", "split", "own_failure", "unsnoozed"}
	ends       = []string{"resolved", "reassessed", "merged"}
)

// kindOf are the kinds of entries that are told while an incident is open. Of
// any other nobody hears: the next notice shows what it changed.
var kindOf = map[string]Kind{
	"acknowledged": Acknowledged, "assigned": Assigned, "owner": Assigned, "fix_linked": Fixing, "fix_merged": Verifying, "fix_failed": FixFailed,
	"snoozed": Snoozed, "unsnoozed": Unsnoozed, "comment": Commented, "known_flaky": Flaky,
}

// Choose decides which of the new entries of an incident are told, and returns
// what people take the incident for afterwards. What happened since they were
// last told is told as one change: an incident that has ended before anybody
// heard of it was nothing, and one that was open all along did not open again.
// A suspected incident waits until it is confirmed; a snoozed one until it
// ends or the snooze does.
func (t Telling) Choose(entries []Entry) ([]Announcement, Telling) {
	var out []Announcement
	after := t
	turn, turned := t.turn(entries)
	if turned {
		out = append(out, turn)
		after.Told, after.ToldOwner = ToldOpen, t.Owner
		if t.isResolved() {
			after.Told = ToldResolved
		}
	}
	for n, e := range entries {
		kind, known := kindOf[e.Kind]
		switch {
		case !known || turned && e.ID == turn.Entry:
			continue
		case turned && kind != Commented && (e.ID < turn.Entry || kind == Flaky):
			continue // the turn shows how the incident is
		case !t.hears(kind, after.Told):
			continue
		case kind == Assigned && (after.ToldOwner == t.Owner || slices.ContainsFunc(entries[n+1:], assigns)):
			continue
		}
		out = append(out, Announcement{e.ID, kind})
		if kind == Assigned {
			after.ToldOwner = t.Owner
		}
		if !t.isResolved() {
			after.Told = ToldOpen
		}
	}
	slices.SortFunc(out, func(a, b Announcement) int { return int(a.Entry - b.Entry) })
	return out, after
}

func (t Telling) isResolved() bool { return t.Status == statusResolved }

// turn is the change from red to green or back that people have to hear of,
// told by the last entry that made it.
func (t Telling) turn(entries []Entry) (Announcement, bool) {
	made, kind := beginnings, Opened
	switch {
	case t.isResolved():
		if t.Told != ToldOpen {
			return Announcement{}, false
		}
		made, kind = ends, Resolved
	case t.Status == statusSuspected, t.Snoozed, t.Told == ToldOpen:
		return Announcement{}, false
	case t.Told == ToldResolved:
		kind = Reopened
	}
	for _, e := range slices.Backward(entries) {
		if slices.Contains(made, e.Kind) {
			return Announcement{e.ID, kind}, true
		}
	}
	return Announcement{}, false
}

// hears reports whether a change beside the turns is told as the incident is.
func (t Telling) hears(kind Kind, told ToldStatus) bool {
	switch {
	case t.isResolved():
		return kind == Commented && told != NeverTold
	case t.Status == statusSuspected:
		return false
	case t.Snoozed:
		return kind == Snoozed || kind == Unsnoozed
	}
	return true
}

func assigns(e Entry) bool { return kindOf[e.Kind] == Assigned }
