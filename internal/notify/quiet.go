package notify

import (
	"time"
	_ "time/tzdata" // the zones of users, on machines that lack them
)

// QuietHours are when a user is not disturbed. The zero value has none.
type QuietHours struct {
	From     string // 22:00, on the clock of Zone; empty or equal to To: no hours
	To       string // 07:00
	Zone     string // of the IANA database: Europe/Berlin; empty is UTC
	Weekends bool   // Saturday and Sunday as a whole
}

// Digest says how often a user is told in one message.
type Digest string

// The digests.
const (
	NoDigest Digest = "off"
	Hourly   Digest = "hourly"
	Daily    Digest = "daily" // at 09:00 of the user's zone
)

const dailyHour = 9

// Way is how a notice goes to a channel.
type Way string

// The ways.
const (
	Alone    Way = "alone"
	InDigest Way = "digest"
)

// When decides how and when a channel is told of a notice, and says why. A
// critical incident waits for nothing.
func When(c Channel, n Notice, now time.Time) (Way, time.Time, string) {
	switch {
	case c.Immediate:
		return Alone, now, "the channel is told at once"
	case n.Incident.Severity == critical:
		return Alone, now, "the incident is critical"
	case c.Digest == Hourly || c.Digest == Daily:
		return InDigest, c.Quiet.Until(nextDigest(c.Digest, c.Quiet.zone(), now)), "the user has a digest"
	}
	at := c.Quiet.Until(now)
	if at.After(now) {
		return Alone, at, "the user has quiet hours"
	}
	return Alone, now, "nothing holds it back"
}

// nextDigest is when the digest after now is due.
func nextDigest(d Digest, zone *time.Location, now time.Time) time.Time {
	if d == Hourly {
		return now.Truncate(time.Hour).Add(time.Hour)
	}
	local := now.In(zone)
	for day := 0; ; day++ {
		at := time.Date(local.Year(), local.Month(), local.Day()+day, dailyHour, 0, 0, 0, zone)
		if at.After(now) {
			return at
		}
	}
}

// longestQuiet ends the search for the end of quiet hours: a weekend with the
// nights around it is shorter.
const longestQuiet = 5 * 24 * time.Hour

// Until is the first time, not before now, that is not quiet. It goes through
// the minutes one by one, which is right on days that are shorter or longer.
func (q QuietHours) Until(now time.Time) time.Time {
	zone := q.zone()
	for at := now; at.Before(now.Add(longestQuiet)); at = at.Truncate(time.Minute).Add(time.Minute) {
		if !q.isQuiet(at.In(zone)) {
			return at
		}
	}
	return now // it never ends, so nothing would ever be told
}

func (q QuietHours) isQuiet(local time.Time) bool {
	if day := local.Weekday(); q.Weekends && (day == time.Saturday || day == time.Sunday) {
		return true
	}
	from, fromErr := time.Parse(clock, q.From)
	to, toErr := time.Parse(clock, q.To)
	if fromErr != nil || toErr != nil {
		return false
	}
	minute, begin, end := minutes(local), minutes(from), minutes(to)
	if begin <= end {
		return begin <= minute && minute < end
	}
	return minute >= begin || minute < end
}

// clock is the form of a time of the day.
const clock = "15:04"

func minutes(t time.Time) int { return t.Hour()*60 + t.Minute() }

// zone is UTC for a name that the database does not have; Check refuses those.
func (q QuietHours) zone() *time.Location {
	zone, err := time.LoadLocation(q.Zone)
	if err != nil {
		return time.UTC
	}
	return zone
}
